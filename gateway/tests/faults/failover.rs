//! One of several providers dies while it serves, before the first token or after it: nobody may notice.

use std::sync::Arc;
use std::time::Duration;

use crate::books::{self, Closing};
use crate::caller::{self, Ask, Ending, Leave, Report, Scripts};
use crate::load::Progress;
use crate::stack::{LedgerKind, Plan, Stack, Terms};
use crate::wait;

const PROVIDERS: u64 = 3;
const CALLS: usize = 24;
const SETTLED_MAX: Duration = Duration::from_secs(10);

/// Which half of a provider is killed.
#[derive(Debug, Clone, Copy)]
enum Half {
    Agent,
    Engine,
}

#[test]
#[ignore = "minutes long: make faults"]
fn an_agent_killed_before_the_first_token_is_noticed_by_nobody() {
    before_the_first_token(Half::Agent);
}

#[test]
#[ignore = "minutes long: make faults"]
fn an_engine_killed_before_the_first_token_is_noticed_by_nobody() {
    before_the_first_token(Half::Engine);
}

#[test]
#[ignore = "minutes long: make faults"]
fn an_agent_killed_in_mid_stream_is_noticed_by_nobody() {
    in_mid_stream(Half::Agent);
}

#[test]
#[ignore = "minutes long: make faults"]
fn an_engine_killed_in_mid_stream_is_noticed_by_nobody() {
    in_mid_stream(Half::Engine);
}

fn before_the_first_token(half: Half) {
    let mut scene = Scene::open();
    let ask = |number: usize| Ask {
        ttft_ms: 1_500,
        ..Scene::ask(number)
    };
    let calls = scene.call_all(ask);
    // All of them wait for their first token at some engine.
    let busiest = scene.wait_for_engines(CALLS as u64);
    scene.kill(busiest, half);
    let reports = scene.answers(calls);
    for report in &reports {
        assert_eq!(report.ending, Ending::Complete, "{half:?} killed: {report:?}");
    }
    scene.close(&reports);
}

fn in_mid_stream(half: Half) {
    let mut scene = Scene::open();
    let ask = |number: usize| Ask {
        ttft_ms: 10,
        itl_ms: 60,
        tokens: 48,
        ..Scene::ask(number)
    };
    let calls = scene.call_all(ask);
    let busiest = scene.wait_for_engines(CALLS as u64);
    // A head and some chunks for each stream: about half of them then come from the one that is killed.
    let progress = scene.progress.clone();
    wait::until_true("tokens to flow", SETTLED_MAX, || progress.events() >= 5 * CALLS as u64);
    let calls_hit = scene.kill(busiest, half);
    let victim = scene.stack.providers[busiest].id.clone();
    let reports = scene.answers(calls);
    for report in &reports {
        assert_eq!(report.ending, Ending::Complete, "{half:?} killed: {report:?}");
    }
    let went_on = scene.close(&reports).spliced(&victim);
    println!("  {calls_hit} calls ran on the {half:?} killed: {went_on} streams went on elsewhere");
    assert!(went_on > 0, "some of its streams had begun");
}

/// Several providers, and calls that are all under way at once.
struct Scene {
    stack: Stack,
    scripts: Arc<Scripts>,
    progress: Arc<Progress>,
}

impl Scene {
    fn open() -> Self {
        let providers = (0..PROVIDERS).map(Terms::odd).collect();
        let stack = Stack::start(Plan {
            ledger: LedgerKind::Embedded,
            providers,
            gateway: Vec::new(),
        });
        let scripts = Arc::new(
            stack
                .runtime
                .block_on(Scripts::learn(&stack.providers[0].engine_client)),
        );
        Self {
            stack,
            scripts,
            progress: Arc::default(),
        }
    }

    /// Every other call is streamed.
    fn ask(number: usize) -> Ask {
        let stream = number.is_multiple_of(2);
        let (prompt, include_usage, limited) = (number % 5, number.is_multiple_of(4), number.is_multiple_of(3));
        Ask {
            prompt,
            tokens: 24,
            ttft_ms: 10,
            itl_ms: 5,
            stream,
            include_usage,
            limited,
            leave: Leave::Never,
        }
    }

    fn call_all(&self, ask: impl Fn(usize) -> Ask) -> tokio::task::JoinSet<Report> {
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..CALLS {
            let (client, scripts, progress) = (self.stack.client.clone(), self.scripts.clone(), self.progress.clone());
            let ask = ask(number);
            let call = async move { caller::call(&client, &scripts, ask, &progress).await };
            calls.spawn_on(call, self.stack.runtime.handle());
        }
        calls
    }

    /// Waits until `calls` run at the engines, and returns who runs the most.
    fn wait_for_engines(&self, calls: u64) -> usize {
        wait::until("every call to reach an engine", SETTLED_MAX, || {
            let running = self
                .stack
                .providers
                .iter()
                .map(|each| self.stack.runtime.block_on(each.running()));
            let running: Vec<_> = running.collect();
            let busiest = (0..running.len()).max_by_key(|&number| running[number])?;
            (running.iter().sum::<u64>() == calls).then_some(busiest)
        })
    }

    /// Kills one half of a provider and returns how many calls ran there.
    fn kill(&mut self, number: usize, half: Half) -> u64 {
        let running = self.stack.runtime.block_on(self.stack.providers[number].running());
        assert!(running > 0, "the busiest provider is at work");
        let provider = &mut self.stack.providers[number];
        match half {
            Half::Agent => provider.take_agent().kill(),
            Half::Engine => provider.take_engine().kill(),
        }
        running
    }

    fn answers(&self, calls: tokio::task::JoinSet<Report>) -> Vec<Report> {
        self.stack.runtime.block_on(calls.join_all())
    }

    /// Stops the gateway and closes the books: every call has a record that says what its caller saw.
    fn close(mut self, reports: &[Report]) -> Closing {
        wait::until_true("every hold to be settled", SETTLED_MAX, || self.stack.held() == Some(0));
        let mut gateway = self.stack.take_gateway();
        gateway.terminate();
        assert!(gateway.wait_for_exit(Duration::from_secs(20)).success());
        let closing = books::close(&self.stack, reports, &[], Duration::ZERO);
        assert_eq!((closing.records, closing.missing), (reports.len(), 0));
        for (name, log) in self.stack.logs() {
            assert!(!log.contains("panicked"), "{name} panicked");
            assert!(!log.contains("orphaned holds were swept"), "{name} lost a hold");
        }
        closing
    }
}
