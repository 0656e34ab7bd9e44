//! Sends a script as server-sent events, each in a write of its own, at the pace asked for and with the fault asked for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep};

use super::call::Operation;
use super::script::Script;
use super::sim::{Fault, FaultKind};
use super::stats::Running;
use super::wire::Wire;

/// How fast tokens come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) first: Duration,
    pub(super) gap: Duration,
}

/// A stream under way.
pub(super) struct Stream {
    script: Script,
    wire: Wire,
    include_usage: bool,
    pace: Pace,
    fault: Option<Fault>,
    running: Running,
    reset: Arc<AtomicBool>,
    step: Step,
    /// Number of the event to send next.
    number: u32,
    held: Option<Event>,
    due: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    breathed: bool,
    giant_left: u64,
}

/// Where in the script the stream stands.
#[derive(Debug, Clone, Copy)]
enum Step {
    Role { choice: usize },
    Piece { n: u32, choice: usize },
    Finish { choice: usize },
    Usage,
    Done,
    Over,
}

struct Event {
    bytes: Vec<u8>,
    wait: Duration,
    is_token: bool,
}

/// The stream ends here and its connection with it.
#[derive(Debug, thiserror::Error)]
#[error("the simulated engine broke the connection, as it was told to")]
pub struct Broken;

impl Stream {
    pub(super) fn new(
        script: Script,
        wire: Wire,
        include_usage: bool,
        pace: Pace,
        fault: Option<Fault>,
        running: Running,
        reset: Arc<AtomicBool>,
    ) -> Self {
        let step = match script.operation {
            Operation::Completion => Step::Piece { n: 0, choice: 0 },
            Operation::Chat | Operation::Embedding => Step::Role { choice: 0 },
        };
        Self {
            script,
            wire,
            include_usage,
            pace,
            fault,
            running,
            reset,
            step,
            number: 0,
            held: None,
            due: Instant::now(),
            sleep: None,
            breathed: true,
            giant_left: 0,
        }
    }

    /// Polls for the next bytes; `None` at the end of the body.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if self.giant_left > 0 {
            return Poll::Ready(Some(Ok(self.giant_line())));
        }
        if self.held.is_none() {
            self.held = self.next_event();
            self.breathed = false;
            if let Some(event) = &self.held
                && !event.wait.is_zero()
            {
                self.due += event.wait;
                self.sleep = Some(Box::pin(tokio::time::sleep_until(self.due)));
            }
        }
        let Some(event) = self.held.take() else {
            return Poll::Ready(None);
        };
        if let Some(sleep) = &mut self.sleep {
            if sleep.as_mut().poll(cx).is_pending() {
                self.held = Some(event);
                return Poll::Pending;
            }
            self.sleep = None;
        } else if !self.breathed && self.number > 0 {
            // Returning for a moment makes hyper write what it has: one write per event, as real engines do.
            self.breathed = true;
            self.held = Some(event);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.send(event)
    }

    fn send(&mut self, event: Event) -> Poll<Option<Result<Bytes, Broken>>> {
        let number = self.number;
        self.number = number.saturating_add(1);
        let due = self
            .fault
            .as_ref()
            .filter(|fault| fault.at == number)
            .map(|fault| (fault.kind, fault.line_bytes()));
        let mut bytes = event.bytes;
        if let Some((kind, _)) = due {
            self.running.suffers(kind);
        }
        match due {
            Some((FaultKind::Close, _)) => {
                self.break_off();
                return Poll::Ready(Some(Err(Broken)));
            }
            Some((FaultKind::Reset, _)) => {
                self.reset.store(true, Ordering::Relaxed);
                self.break_off();
                return Poll::Ready(Some(Err(Broken)));
            }
            Some((FaultKind::Stall, _)) => {
                // Nobody wakes this stream again; the connection's end drops it.
                self.number = number;
                self.held = Some(Event { bytes, ..event });
                return Poll::Pending;
            }
            Some((FaultKind::Truncate, _)) => {
                self.break_off();
                return Poll::Ready(None);
            }
            Some((FaultKind::HalfFrame, _)) => {
                bytes.truncate(bytes.len() / 2);
                self.break_off();
            }
            Some((FaultKind::OkWithError, _)) => {
                bytes = b"data: {\"error\":{\"message\":\"simulated fault in the stream\",\"type\":\"server_error\",\"param\":null,\"code\":\"simulated_fault\"}}\n\ndata: [DONE]\n\n".to_vec();
                self.break_off();
            }
            Some((FaultKind::Garbage, _)) => bytes = GARBAGE_EVENT.to_vec(),
            Some((FaultKind::GiantLine, line_bytes)) => {
                self.giant_left = line_bytes;
                self.held = Some(Event {
                    bytes,
                    wait: Duration::ZERO,
                    ..event
                });
                return Poll::Ready(Some(Ok(Bytes::from_static(b"data: {\"choices\":[],\"padding\":\""))));
            }
            _ => {}
        }
        if event.is_token {
            self.running.tokens(1);
        }
        if matches!(self.step, Step::Over) {
            self.running.finish();
        }
        Poll::Ready(Some(Ok(Bytes::from(bytes))))
    }

    fn break_off(&mut self) {
        self.step = Step::Over;
        self.held = None;
        self.running.fault();
    }

    fn giant_line(&mut self) -> Bytes {
        let now = self.giant_left.min(GIANT_PART.len() as u64);
        self.giant_left -= now;
        let part = &GIANT_PART[..usize::try_from(now).unwrap_or(GIANT_PART.len())];
        if self.giant_left > 0 {
            return Bytes::from_static(part);
        }
        Bytes::from([part, b"\"}\n\n"].concat())
    }

    fn next_event(&mut self) -> Option<Event> {
        let choices = self.script.choices.len();
        loop {
            let (bytes, wait, is_token) = match self.step {
                Step::Role { choice } => {
                    let wait = if choice == 0 { self.pace.first } else { Duration::ZERO };
                    self.step = if choice + 1 < choices {
                        Step::Role { choice: choice + 1 }
                    } else {
                        Step::Piece { n: 0, choice: 0 }
                    };
                    (self.wire.role_event(&self.script, choice), wait, false)
                }
                Step::Piece { n, choice } => {
                    let Some(bytes) = self.wire.piece_event(&self.script, choice, n) else {
                        self.step = self.after_piece(n, choice);
                        continue;
                    };
                    let wait = self.gap_before(n, choice);
                    self.step = self.after_piece(n, choice);
                    (bytes, wait, true)
                }
                Step::Finish { choice } => {
                    self.step = if choice + 1 < choices {
                        Step::Finish { choice: choice + 1 }
                    } else {
                        Step::Usage
                    };
                    (self.wire.finish_event(&self.script, choice), Duration::ZERO, false)
                }
                Step::Usage => {
                    self.step = Step::Done;
                    match self.script.usage.as_ref().filter(|_| self.include_usage) {
                        Some(usage) => (self.wire.usage_event(usage), Duration::ZERO, false),
                        None => continue,
                    }
                }
                Step::Done => {
                    self.step = Step::Over;
                    (b"data: [DONE]\n\n".to_vec(), Duration::ZERO, false)
                }
                Step::Over => return None,
            };
            return Some(Event { bytes, wait, is_token });
        }
    }

    /// Choices speak in turn, one token each; the longest decides when all have finished.
    fn after_piece(&self, n: u32, choice: usize) -> Step {
        if choice + 1 < self.script.choices.len() {
            return Step::Piece { n, choice: choice + 1 };
        }
        let longest = self
            .script
            .choices
            .iter()
            .map(super::script::Choice::tokens)
            .max()
            .unwrap_or(0);
        if n + 1 < longest {
            Step::Piece { n: n + 1, choice: 0 }
        } else {
            Step::Finish { choice: 0 }
        }
    }

    fn gap_before(&mut self, n: u32, choice: usize) -> Duration {
        match &self.fault {
            Some(fault) if fault.kind == FaultKind::SlowDown && self.number >= fault.at => {
                self.running.suffers(fault.kind);
                return fault.gap();
            }
            _ if choice > 0 => return Duration::ZERO,
            _ => {}
        }
        match (n, self.script.operation) {
            (0, Operation::Completion) => self.pace.first,
            (0, _) => Duration::ZERO,
            _ => self.pace.gap,
        }
    }
}

/// Neither JSON nor UTF-8.
pub(super) const GARBAGE: &[u8] = b"{]\xff\xfe<<not json";
const GARBAGE_EVENT: &[u8] = b"data: {]\xff\xfe<<not json\n\n";
pub(super) static GIANT_PART: [u8; 64 << 10] = [b'x'; 64 << 10];
