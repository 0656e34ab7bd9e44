//! Random numbers as routing needs them, and which seats of a large pool are looked at.

use rand_core::Rng;
use smallvec::SmallVec;

use crate::pool::Pool;

/// Pools up to this size are scored whole. Source: ROUTING, "Above ~64 candidates".
pub(crate) const WHOLE_MAX: usize = 64;

/// Random seats of a larger pool (ROUTING), beside the ones chosen last.
const DRAWN: usize = 32;

/// Positions of seats to look at.
pub(crate) type Drawn = SmallVec<[usize; 64]>;

/// The seats named, those chosen last and up to 32 random ones, distinct.
pub(crate) fn draw(pool: &Pool, named: &[usize], rng: &mut (impl Rng + ?Sized)) -> Drawn {
    let mut drawn: Drawn = SmallVec::from_slice(named);
    drawn.extend(pool.recent().iter().copied().filter(|at| !named.contains(at)));
    for _ in 0..DRAWN {
        let at = below(pool.seats().len(), rng);
        if !drawn.contains(&at) {
            drawn.push(at);
        }
    }
    drawn
}

/// A whole number in `0..bound` (0 if there is none): multiply-shift (Lemire 2019), whose bias of
/// bound/2^32 is of no matter here.
pub(crate) fn below(bound: usize, rng: &mut (impl Rng + ?Sized)) -> usize {
    let wide = u64::from(rng.next_u32()) * (bound as u64);
    usize::try_from(wide >> 32).unwrap_or(0)
}

/// True with this probability.
pub(crate) fn chance(probability: f64, rng: &mut (impl Rng + ?Sized)) -> bool {
    /// 2^32.
    const RANGE: f64 = 4_294_967_296.0;
    f64::from(rng.next_u32()) < probability * RANGE
}

/// exp(σ·z) with z nearly normal: the sum of four uniforms (Irwin and Hall), for one draw and
/// without a logarithm. Within ±3.5 σ.
pub(crate) fn log_normal(sigma: f64, rng: &mut (impl Rng + ?Sized)) -> f64 {
    /// Width of one of the four parts of the draw.
    const UNIT: f64 = 65_536.0;
    if sigma <= 0.0 {
        return 1.0;
    }
    let bits = rng.next_u64();
    let part = |at: u32| f64::from(u16::try_from((bits >> at) & 0xffff).unwrap_or(0));
    let sum = (part(0) + part(16) + part(32) + part(48)) / UNIT;
    // Four uniforms have mean 2 and variance 4/12.
    (sigma * (sum - 2.0) * 3.0_f64.sqrt()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn the_jitter_has_the_asked_width() {
        let mut rng = StdRng::seed_from_u64(7);
        let logs: Vec<f64> = (0..20_000).map(|_| log_normal(0.05, &mut rng).ln()).collect();
        let mean = logs.iter().sum::<f64>() / 20_000.0;
        let variance = logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.002, "{mean}");
        assert!((variance.sqrt() - 0.05).abs() < 0.002, "{variance}");
    }

    #[test]
    fn draws_stay_in_range_and_reach_everything() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut hits = [0_u32; 10];
        for _ in 0..10_000 {
            hits[below(10, &mut rng)] += 1;
        }
        assert!(hits.iter().all(|n| (800..1200).contains(n)), "{hits:?}");
        assert_eq!(below(0, &mut rng), 0);
        let explored = (0..100_000).filter(|_| chance(0.01, &mut rng)).count();
        assert!((800..1200).contains(&explored), "{explored}");
        assert!(!chance(0.0, &mut rng) && chance(1.0, &mut rng));
    }
}
