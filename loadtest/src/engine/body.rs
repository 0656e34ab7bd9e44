//! The bodies a simulated engine sends.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::stats::Running;
use super::stream::{Broken, GIANT_PART, Stream};

/// A response body.
pub(super) enum Body {
    Empty,
    Whole(Bytes, Option<Running>),
    Stream(Box<Stream>),
    /// Part of an answer, then what `then` says.
    Part {
        bytes: Bytes,
        then: Then,
        running: Running,
        written: bool,
    },
    /// An answer of one very long line.
    Giant {
        left: u64,
        running: Running,
        started: bool,
    },
}

/// What follows the part of an answer that was sent.
pub(super) enum Then {
    /// The connection ends.
    Close,
    /// The connection is reset.
    Reset(Arc<AtomicBool>),
    /// Nothing, and the connection stays open.
    Silence,
}

const GIANT_OPEN: &[u8] = br#"{"object":"chat.completion","choices":[],"padding":""#;

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes, running) => {
                let bytes = std::mem::take(bytes);
                if let Some(running) = running {
                    running.finish();
                }
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.poll(cx).map(|next| next.map(|bytes| bytes.map(Frame::data))),
            Self::Part {
                bytes,
                then,
                running,
                written,
            } => {
                if !bytes.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))));
                }
                if !std::mem::replace(written, true) {
                    // Returning for a moment makes hyper write the part before it hears of the end.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match then {
                    Then::Silence => return Poll::Pending,
                    Then::Close => {}
                    Then::Reset(reset) => reset.store(true, Ordering::Relaxed),
                }
                running.fault();
                Poll::Ready(Some(Err(Broken)))
            }
            Self::Giant { left, running, started } => {
                if !std::mem::replace(started, true) {
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(GIANT_OPEN)))));
                }
                let now = (*left).min(GIANT_PART.len() as u64);
                *left -= now;
                if now > 0 {
                    let part = &GIANT_PART[..usize::try_from(now).unwrap_or(GIANT_PART.len())];
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(part)))));
                }
                running.fault();
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"\"}")))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes, _) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) | Self::Part { .. } | Self::Giant { .. } => SizeHint::default(),
        }
    }
}
