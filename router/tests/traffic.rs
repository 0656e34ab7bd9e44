//! Where traffic goes over time, in a small world with the real router: seeds are fixed, times
//! virtual.

mod world;

use std::time::Duration;

use filature_router::Policy;
use world::{BALANCED, FLOOR, Manner, NITRO, World, ms, serves};

const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

#[test]
fn a_fast_failing_provider_does_not_attract_traffic() {
    for seed in SEEDS {
        let mut world = World::new(Policy::default(), seed)
            .provider("fails", 1_000, Manner::Fails { after: ms(2) })
            .provider("a", 1_000_000, serves(400, 20))
            .provider("b", 1_000_000, serves(500, 20));
        let tally = world.run(4000, ms(100), BALANCED);
        world.idle(Duration::from_secs(60));
        // 400 s: half-open probes at most every 60 s after the first few, and explorations.
        assert!(tally.share("fails") < 0.01, "seed {seed}: {tally:?}");
        let seat = world.fleet.seats(world.now).map(|seat| seat.in_flight);
        assert_eq!(seat.sum::<u32>(), 0, "seed {seed}");
    }
}

#[test]
fn a_sinkhole_does_not_attract_traffic() {
    for seed in SEEDS {
        let mut world = World::new(Policy::default(), seed)
            .provider("sinkhole", 1_000, Manner::Stalls)
            .provider("a", 1_000_000, serves(400, 20))
            .provider("b", 1_000_000, serves(500, 20));
        let first = world.run(200, ms(100), BALANCED);
        assert!(first.share("sinkhole") < 0.15, "seed {seed}: {first:?}");
        world.idle(Duration::from_secs(120));
        let tally = world.run(4000, ms(100), BALANCED);
        assert!(tally.share("sinkhole") < 0.01, "seed {seed}: {tally:?}");
        let last = world.idle(Duration::from_secs(120));
        assert_eq!(last.served, 4000, "seed {seed}: every call was served elsewhere");
    }
}

#[test]
fn a_provider_that_claims_to_be_idle_attracts_no_more_than_one_that_claims_nothing() {
    for seed in SEEDS {
        let share = |lies: bool| {
            let slow = Manner::Serves {
                first_token: ms(600),
                gap: ms(30),
                slots: 2,
            };
            let mut world = World::new(Policy::default(), seed)
                .provider("liar", 1_000, slow)
                .provider("a", 1_000_000, serves(400, 20))
                .provider("b", 1_000_000, serves(500, 20));
            world.run(200, ms(100), BALANCED);
            let (mut first, mut calls) = (0.0, 0.0);
            for _ in 0..200 {
                if lies {
                    world.claim("liar", 0, 0);
                }
                let tally = world.run(20, ms(100), BALANCED);
                first += tally.share("liar") * f64::from(tally.calls);
                calls += f64::from(tally.calls);
            }
            first / calls
        };
        let (lying, silent) = (share(true), share(false));
        assert!(lying <= silent + 1e-9, "seed {seed}: {lying} against {silent}");
        assert!(lying < 0.34, "seed {seed}: {lying}");
    }
}

#[test]
fn no_call_is_lost_while_a_cheap_provider_fails() {
    for seed in SEEDS {
        let mut world = World::new(Policy::default(), seed)
            .provider("fails", 1_000, Manner::Fails { after: ms(2) })
            .provider("a", 1_000_000, serves(400, 20));
        world.run(500, ms(300), FLOOR);
        let tally = world.idle(Duration::from_secs(60));
        assert_eq!(tally.served, 500, "seed {seed}: {tally:?}");
    }
}

#[test]
fn a_stalled_provider_loses_traffic_and_gets_it_back() {
    for seed in SEEDS {
        let mut world = World::new(Policy::default(), seed)
            .provider("best", 1_000_000, serves(200, 10))
            .provider("good", 1_000_000, serves(600, 30));
        let healthy = world.run(1000, ms(500), NITRO);
        assert!(healthy.share("best") > 0.8, "seed {seed}: {healthy:?}");
        world.manner("best", Manner::Stalls);
        let first_seconds = world.run(16, ms(500), NITRO);
        assert!(first_seconds.share("best") < 0.3, "seed {seed}: {first_seconds:?}");
        let stalled = world.run(1000, ms(500), NITRO);
        assert!(stalled.share("best") < 0.03, "seed {seed}: {stalled:?}");
        world.manner("best", serves(200, 10));
        world.run(400, ms(500), NITRO);
        let recovered = world.run(1000, ms(500), NITRO);
        assert!(recovered.share("best") > 0.8, "seed {seed}: {recovered:?}");
    }
}

#[test]
fn a_provider_that_was_slow_once_is_looked_at_again() {
    for seed in SEEDS {
        let mut world = World::new(Policy::default(), seed)
            .provider("best", 1_000_000, serves(200, 10))
            .provider("good", 1_000_000, serves(600, 30));
        world.run(500, ms(600), NITRO);
        world.manner("best", serves(6000, 100));
        world.run(1000, ms(600), NITRO);
        let slow = world.run(500, ms(600), NITRO);
        assert!(slow.share("best") < 0.2, "seed {seed}: {slow:?}");
        world.manner("best", serves(200, 10));
        world.run(20_000, ms(600), NITRO);
        let recovered = world.run(1000, ms(600), NITRO);
        assert!(recovered.share("best") > 0.8, "seed {seed}: {recovered:?}");
    }
}

#[test]
fn streams_that_break_cost_a_provider_its_traffic() {
    for seed in SEEDS {
        let mut world = World::new(Policy::default(), seed)
            .provider("breaks", 1_000, Manner::Breaks)
            .provider("a", 1_000_000, serves(400, 20));
        world.run(100, ms(200), NITRO);
        let tally = world.run(1000, ms(200), NITRO);
        assert!(tally.share("breaks") < 0.03, "seed {seed}: {tally:?}");
    }
}

#[test]
fn the_patient_pay_little_and_the_hurried_wait_little() {
    for seed in SEEDS {
        let run = |exchange| {
            let mut world = World::new(Policy::default(), seed)
                .provider("cheap", 1_000_000, serves(1500, 60))
                .provider("fast", 40_000_000, serves(150, 8));
            world.run(50, ms(2000), exchange);
            world.run(500, ms(2000), exchange)
        };
        let (patient, hurried) = (run(FLOOR), run(NITRO));
        assert!(patient.share("cheap") > 0.95, "seed {seed}: {patient:?}");
        assert!(hurried.share("fast") > 0.95, "seed {seed}: {hurried:?}");
    }
}

#[test]
fn equals_share_the_load() {
    for seed in SEEDS {
        let mut world = World::new(Policy::default(), seed);
        for name in ["a", "b", "c", "d"] {
            world = world.provider(name, 1_000_000, serves(300, 20));
        }
        world.run(200, ms(100), BALANCED);
        let tally = world.run(4000, ms(100), BALANCED);
        for name in ["a", "b", "c", "d"] {
            assert!((0.15..0.35).contains(&tally.share(name)), "seed {seed}: {tally:?}");
        }
    }
}

#[test]
fn a_newcomer_is_found_out() {
    for seed in SEEDS {
        let mut world = World::new(Policy::default(), seed).provider("known", 1_000_000, serves(100, 8));
        world.run(500, ms(500), NITRO);
        world = world.provider("new", 1_000_000, serves(50, 4));
        world.run(2000, ms(500), NITRO);
        let tally = world.run(500, ms(500), NITRO);
        assert!(tally.share("new") > 0.8, "seed {seed}: {tally:?}");
    }
}
