//! Many callers at once, each making one call after the other until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::caller::{self, Ask, Client, Ending, Report, Scripts};

/// What a caller waits after a failure before it calls again. Official clients wait longer; this keeps the load up.
const PAUSE: Duration = Duration::from_millis(30);

/// Counts what happens at the callers: heads, chunks, ends. The killer strikes after so many of them.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

impl Progress {
    /// Something happened.
    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How much has happened.
    pub fn events(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Callers at work.
pub struct Load {
    pub progress: Arc<Progress>,
    stop: CancellationToken,
    callers: JoinSet<Vec<Report>>,
}

impl Load {
    /// Starts `callers` callers; `rng` decides what they ask.
    pub fn start(runtime: &Handle, client: &Client, scripts: &Arc<Scripts>, callers: usize, rng: &mut StdRng) -> Self {
        Self::start_with(Ask::draw, runtime, client, scripts, callers, rng)
    }

    /// As [`Load::start`], of callers that never hang up.
    pub fn start_patient(
        runtime: &Handle,
        client: &Client,
        scripts: &Arc<Scripts>,
        callers: usize,
        rng: &mut StdRng,
    ) -> Self {
        Self::start_with(Ask::draw_patient, runtime, client, scripts, callers, rng)
    }

    fn start_with(
        draw: fn(&mut StdRng) -> Ask,
        runtime: &Handle,
        client: &Client,
        scripts: &Arc<Scripts>,
        callers: usize,
        rng: &mut StdRng,
    ) -> Self {
        let mut load = Self {
            progress: Arc::default(),
            stop: CancellationToken::new(),
            callers: JoinSet::new(),
        };
        for _ in 0..callers {
            let rng = StdRng::from_rng(rng);
            let work = call_until(
                draw,
                client.clone(),
                scripts.clone(),
                load.progress.clone(),
                load.stop.clone(),
                rng,
            );
            load.callers.spawn_on(work, runtime);
        }
        load
    }

    /// Lets every caller finish its call and returns all that were made.
    pub async fn finish(self) -> Vec<Report> {
        self.stop.cancel();
        self.callers.join_all().await.into_iter().flatten().collect()
    }
}

async fn call_until(
    draw: fn(&mut StdRng) -> Ask,
    client: Client,
    scripts: Arc<Scripts>,
    progress: Arc<Progress>,
    stop: CancellationToken,
    mut rng: StdRng,
) -> Vec<Report> {
    let mut reports = Vec::new();
    while !stop.is_cancelled() {
        let report = caller::call(&client, &scripts, draw(&mut rng), &progress).await;
        let failed = matches!(report.ending, Ending::Refused { .. } | Ending::CutOff(_));
        reports.push(report);
        if failed {
            tokio::time::sleep(PAUSE).await;
        }
    }
    reports
}
