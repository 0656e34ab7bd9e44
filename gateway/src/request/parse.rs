//! Step 2, what: reads the body, bounded in size and time, and takes the typed view of it.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use filature_billing::AccountId;
use filature_openapi::call::{self, CallView, Endpoint};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;

use super::room::{NoRoom, Place};
use crate::app::App;
use crate::reject::Reject;

/// How much of a body is read only to be thrown away: from a stranger, and from a caller with a key whose body is too
/// large.
pub const STRANGER_BYTES_MAX: usize = 256 * 1024;
const TOO_LARGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// And for how long.
const DISCARD_MAX: Duration = Duration::from_secs(5);

/// Reads a request's body into one piece, once there is room for it. A body that came in one network read is not copied.
///
/// # Errors
/// [`Reject::Overloaded`] and [`Reject::Crowded`] where there is no room for another call, or for its bytes;
/// [`Reject::TooLarge`] beyond `server.body_bytes_max`, [`Reject::BodyTimeout`] beyond `server.body_read_timeout_ms`,
/// [`Reject::BadRequest`] when the connection breaks.
pub async fn read_body(
    app: &App,
    headers: &HeaderMap,
    account: &AccountId,
    mut body: Body,
) -> Result<(Place, Bytes), Reject> {
    let server = &app.config.server;
    let bytes_max = usize::try_from(server.body_bytes_max).unwrap_or(usize::MAX);
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > bytes_max) {
        discard(body, TOO_LARGE_BYTES_MAX).await;
        return Err(Reject::TooLarge { bytes_max });
    }
    let place = app.room.enter(account).and_then(|mut place| {
        place.hold(announced.unwrap_or(0))?;
        Ok(place)
    });
    let mut place = match place {
        Ok(place) => place,
        Err(no_room) => {
            discard(body, STRANGER_BYTES_MAX).await;
            return Err(no_room.into());
        }
    };
    let deadline = Duration::from_millis(server.body_read_timeout_ms);
    let whole = collect(&mut body, &mut place, announced, bytes_max);
    match tokio::time::timeout(deadline, whole).await {
        Ok(Ok(whole)) => Ok((place, whole)),
        Ok(Err(Unread::TooLarge)) => {
            discard(body, TOO_LARGE_BYTES_MAX).await;
            Err(Reject::TooLarge { bytes_max })
        }
        Ok(Err(Unread::NoRoom(no_room))) => {
            drop(place);
            discard(body, STRANGER_BYTES_MAX).await;
            Err(no_room.into())
        }
        Ok(Err(Unread::Broken(error))) => Err(Reject::BadRequest {
            message: format!("The body could not be read: {error}."),
            param: None,
            code: None,
        }),
        Err(_elapsed) => Err(Reject::BodyTimeout),
    }
}

/// Reads and throws away what a refused caller still sends, up to `bytes_max` and for a moment.
///
/// A connection that is closed while its caller still writes is reset, and the caller never sees the answer.
pub async fn discard(mut body: Body, bytes_max: usize) {
    let mut seen = 0;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            if seen > bytes_max {
                break;
            }
        }
    };
    // Whether it came to its end or was cut: the caller is answered now.
    let _ = tokio::time::timeout(DISCARD_MAX, rest).await;
}

/// Why a body was not read.
enum Unread {
    TooLarge,
    NoRoom(NoRoom),
    Broken(axum::Error),
}

/// The whole body. One whose length was not announced takes its room as it comes.
async fn collect(
    body: &mut Body,
    place: &mut Place,
    announced: Option<usize>,
    bytes_max: usize,
) -> Result<Bytes, Unread> {
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else {
            continue;
        };
        let have = rest.as_ref().map_or(first.len(), BytesMut::len);
        if have + data.len() > bytes_max {
            return Err(Unread::TooLarge);
        }
        place.hold(have + data.len()).map_err(Unread::NoRoom)?;
        match &mut rest {
            Some(rest) => rest.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut joined = BytesMut::with_capacity(announced.unwrap_or(0).max(have + data.len()));
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&data);
                rest = Some(joined);
            }
        }
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}

/// The typed view of a call.
///
/// # Errors
/// [`Reject::BadRequest`] that names the field and what is allowed.
pub fn view(endpoint: Endpoint, body: &[u8]) -> Result<CallView, Reject> {
    call::parse_call(endpoint, body).map_err(|bad| Reject::BadRequest {
        message: bad.message,
        param: bad.param,
        code: bad.code,
    })
}
