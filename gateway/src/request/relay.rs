//! Step 6, the stream: carries an answer from a provider to its caller, bounded in memory and in time.
//!
//! The caller reads from a short channel. A caller that leaves closes it, which ends the pump at once and with it the
//! provider's work.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use filature_billing::Salted;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

use super::Call;
use super::attempt::Watched;
use super::cosigned::{Answer, Unchecked};
use super::frames::{Fault, Frames, Out};
use super::hashes;
use crate::app::Worker;
use crate::fleet::provider::Provider;

/// Pieces that may wait for a slow caller; the engine waits when they are full.
const PIECES_MAX: usize = 16;
/// Bytes, and pieces, that are gathered for one write. A provider that sends single bytes meets the second bound first.
const GATHERED_BYTES_MAX: usize = 16 * 1024;
const GATHERED_PIECES_MAX: usize = 64;
/// How long the end of an answer's body may lag behind its `[DONE]` before its connection is given up.
const TRAILING_MAX: Duration = Duration::from_secs(1);

const GENERATION_ID: HeaderName = HeaderName::from_static("x-generation-id");
const PROVIDER: HeaderName = HeaderName::from_static("filature-provider");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The caller's end of a stream, as the pump sees it.
pub type Caller = mpsc::Sender<Bytes>;

/// The response body of a stream.
struct Pieces(mpsc::Receiver<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// The response of a stream, and where its pieces go in.
pub fn response(call: &Call, provider: &Provider) -> (Response, Caller) {
    let (caller, pieces) = mpsc::channel(PIECES_MAX);
    let mut response = Response::new(Body::new(Pieces(pieces)));
    head(&mut response, call, provider, "text/event-stream; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Asks nginx in front of a gateway not to gather events.
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    (response, caller)
}

/// The headers of every answer to a call.
pub fn head(response: &mut Response, call: &Call, provider: &Provider, content_type: &'static str) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(GENERATION_ID, call.id_header.clone());
    if let Ok(id) = HeaderValue::from_str(provider.id.as_str()) {
        headers.insert(PROVIDER, id);
    }
}

/// Why the pump stopped.
pub enum Stopped {
    /// The answer is whole, or as whole as its provider said.
    Complete(Option<Box<Unchecked>>),
    /// The caller left, or reads nothing.
    CallerLeft,
    /// The provider broke off.
    Broke,
    /// The gateway cut the call and has said so: no fault of the provider's.
    Cut,
}

/// Why carrying stopped, before anything is made of it.
enum Halt {
    Complete,
    CallerLeft,
    Broke(String),
    Cut(&'static str),
}

/// A stream on its way to a caller, whoever makes it.
pub struct Stream {
    /// How far it has come.
    pub frames: Box<Frames>,
    /// Where its pieces go, until it is closed.
    pub caller: Option<Caller>,
    /// The hash of what went there.
    pub given: Salted,
    /// How long a silent provider, or a caller that reads nothing, is waited for at most.
    patience: Duration,
    ends_at: Instant,
    cutting: CancellationToken,
}

impl Stream {
    /// A stream whose first token is here.
    #[must_use]
    pub fn new(worker: &Worker, call: &Call, frames: Box<Frames>, caller: Caller) -> Self {
        let limits = &worker.app.config.upstream;
        Self {
            frames,
            caller: Some(caller),
            given: hashes::stream(&worker.app, call),
            patience: Duration::from_millis(limits.gap_timeout_ms),
            ends_at: call.started + Duration::from_millis(limits.call_timeout_ms),
            cutting: worker.app.stop.cutting.clone(),
        }
    }

    /// Carries one provider's part to its end. `held` is what came of it up to its first token.
    pub async fn pump(&mut self, watch: &Watched<'_>, mut body: Answer, held: Out) -> Stopped {
        let attempt = &watch.attempt;
        let gap_max = attempt.gap_deadline.min(self.patience);
        let (frames, given, patience) = (&mut self.frames, &mut self.given, self.patience);
        let Some(caller) = &self.caller else {
            return Stopped::CallerLeft;
        };
        let carried = async {
            let mut to = To {
                caller,
                given,
                patience,
            };
            if !to.give(held).await {
                return Halt::CallerLeft;
            }
            carry(&mut body, frames, &mut to, gap_max).await
        };
        let halt = tokio::select! {
            halt = carried => halt,
            () = caller.closed() => Halt::CallerLeft,
            () = self.cutting.cancelled() => Halt::Cut("The gateway is stopping."),
            () = tokio::time::sleep_until(self.ends_at.into()) => Halt::Cut("The answer took longer than a call may."),
        };
        match halt {
            Halt::Complete => {
                self.caller = None;
                Stopped::Complete(trail(body).await)
            }
            Halt::CallerLeft => Stopped::CallerLeft,
            Halt::Cut(why) => {
                drop(body);
                let last = self.frames.broken("gateway_cut", why);
                self.finish(Out::from_iter([last])).await;
                Stopped::Cut
            }
            Halt::Broke(why) => {
                drop(body);
                let mut last = Out::new();
                // An answer that has said why it ended is whole, however its connection ends.
                if self.frames.end(&mut last).is_ok() {
                    self.finish(last).await;
                    return Stopped::Complete(None);
                }
                tracing::info!(call = %watch.call.id, provider = %attempt.provider, why, "a stream broke");
                Stopped::Broke
            }
        }
    }

    /// Hands the last pieces to the caller and ends the response: its reader is not to wait for what is done after.
    pub async fn finish(&mut self, last: Out) {
        if let Some(caller) = self.caller.take() {
            let mut to = To {
                caller: &caller,
                given: &mut self.given,
                patience: self.patience,
            };
            to.give(last).await;
        }
    }

    /// Tells the caller that the answer broke off and nobody goes on.
    pub async fn tell_broken(&mut self) {
        let last = self
            .frames
            .broken("provider_error", "The provider broke off in the middle of its answer.");
        self.finish(Out::from_iter([last])).await;
    }
}

/// Reads, checks and hands on until the stream is complete or cannot go on.
async fn carry(body: &mut Answer, frames: &mut Frames, to: &mut To<'_>, gap_max: Duration) -> Halt {
    let mut out = Out::new();
    let mut heard = Instant::now();
    let mut gap = std::pin::pin!(tokio::time::sleep(gap_max));
    while !frames.done {
        // A provider may send single bytes by the thousand; others on this thread get their turn all the same.
        tokio::task::consume_budget().await;
        let read = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = gap.as_mut() => {
                // The timer is set once and moved only when it fires: a chunk costs no timer.
                let silent = heard.elapsed();
                if silent >= gap_max {
                    return Halt::Broke(format!("nothing came for {silent:?}"));
                }
                gap.as_mut().reset((heard + gap_max).into());
                continue;
            }
        };
        heard = Instant::now();
        let mut taken = take(read, frames, &mut out);
        // What has arrived together goes out together: one write to the caller, not one for every event.
        while taken.is_ok() && !frames.done && out.len() < GATHERED_PIECES_MAX && bytes(&out) < GATHERED_BYTES_MAX {
            let Some(read) = at_once(body).await else { break };
            taken = take(read, frames, &mut out);
        }
        if !to.give(joined(std::mem::take(&mut out))).await {
            return Halt::CallerLeft;
        }
        if let Err(fault) = taken {
            return Halt::Broke(fault.to_string());
        }
    }
    Halt::Complete
}

type Read = Option<Result<Frame<Bytes>, hyper::Error>>;

/// Takes one read of the engine's body.
fn take(read: Read, frames: &mut Frames, out: &mut Out) -> Result<(), Fault> {
    match read {
        Some(Ok(frame)) => match frame.into_data() {
            Ok(data) => frames.push(data, out),
            Err(_trailers) => Ok(()),
        },
        Some(Err(error)) => Err(Fault::Broken(super::upstream::chain(&error))),
        None => frames.end(out),
    }
}

/// The next read, if it has already arrived. The connection's task gets one turn to hand it over.
async fn at_once(body: &mut Answer) -> Option<Read> {
    let mut turn_given = false;
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(read) => Poll::Ready(Some(read)),
        Poll::Pending if turn_given => Poll::Ready(None),
        Poll::Pending => {
            turn_given = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

fn bytes(out: &Out) -> usize {
    out.iter().map(Bytes::len).sum()
}

/// Several pieces as one.
fn joined(out: Out) -> Out {
    if out.len() < 2 {
        return out;
    }
    let mut whole = BytesMut::with_capacity(bytes(&out));
    out.iter().for_each(|piece| whole.extend_from_slice(piece));
    Out::from_iter([whole.freeze()])
}

/// Where pieces go.
struct To<'a> {
    caller: &'a Caller,
    given: &'a mut Salted,
    patience: Duration,
}

impl To<'_> {
    /// Hands pieces to the caller, and hashes each once it is on its way; `false` when the caller has left, or has read
    /// nothing for as long as `patience`.
    async fn give(&mut self, pieces: Out) -> bool {
        for piece in pieces {
            let sent = piece.clone();
            match self.caller.try_send(piece) {
                Ok(()) => {}
                Err(TrySendError::Full(piece)) => {
                    let taken = tokio::time::timeout(self.patience, self.caller.send(piece)).await;
                    if !matches!(taken, Ok(Ok(()))) {
                        return false;
                    }
                }
                Err(TrySendError::Closed(_)) => return false,
            }
            self.given.update(&sent);
        }
        true
    }
}

/// Reads what follows `[DONE]`, so that the connection can serve again and the agent sees a call that ended well; returns
/// what came beside the answer.
async fn trail(mut body: Answer) -> Option<Box<Unchecked>> {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(TRAILING_MAX, rest).await;
    body.unchecked()
}
