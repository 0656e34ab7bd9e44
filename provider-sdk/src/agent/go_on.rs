//! Makes a call go on where another engine broke off. Decides whether this engine can, and tells it to in its own
//! dialect; that the body ends in the text so far is the gateway's doing.

use bytes::Bytes;
use filature_openapi::{Endpoint, with_member};
use http::Request;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};

use super::digest::Heard;
use super::forward::CallBody;
use super::probe::Manner;
use super::reply::{self, Reply};
use crate::tunnel::CONTINUE_HEADER;

/// The most bytes of a body that is changed, and has to be kept whole for that.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The call as the engine is to get it. One that does not go on from another passes as it comes, and so does a
/// completion: its prompt ends in the text so far, which every engine goes on from.
///
/// # Errors
/// The answer, if the engine cannot go on, or the body is no good for it.
pub(crate) async fn prepare(request: Request<Heard>, manner: Option<Manner>) -> Result<Request<CallBody>, Box<Reply>> {
    let is_chat = request.uri().path() == Endpoint::ChatCompletions.path();
    if !is_chat || !request.headers().contains_key(CONTINUE_HEADER) {
        return Ok(request.map(Either::Left));
    }
    let Some(manner) = manner.filter(|manner| manner.continues) else {
        reply::throw_away(request.into_body()).await;
        return Err(Box::new(reply::cannot_go_on()));
    };
    match manner.dialect.continue_members() {
        "" => Ok(request.map(Either::Left)),
        members => {
            let (head, body) = request.into_parts();
            let body = with_member(&whole(body).await?, members);
            Ok(Request::from_parts(head, Either::Right(Full::new(body))))
        }
    }
}

async fn whole(body: Heard) -> Result<Bytes, Box<Reply>> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Box::new(reply::too_large(BODY_BYTES_MAX))),
        // The gateway has given the call up; nobody reads this.
        Err(_) => Err(Box::new(reply::unknown_path())),
    }
}
