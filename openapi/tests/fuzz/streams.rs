//! Server-sent events.

use bytes::Bytes;
use filature_openapi::sse::{Event, EventDecoder, SseError, event};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::driver::fuzz;

/// Longest event, in bytes: as gateways allow, and so short that mutants exceed it.
const BYTES_MAX: [usize; 3] = [1 << 20, 96, 12];
const BOM: &[u8] = b"\xEF\xBB\xBF";

#[test]
fn events_do_not_depend_on_how_a_stream_is_cut() {
    let words = [
        "\r",
        "\r\n",
        "\n\n",
        "\r\n\r\n",
        "data",
        "data:",
        "data: ",
        ": ",
        "event: x\n",
        "data: [DONE]\n\n",
    ];
    fuzz("sse", &words, |stream| {
        BYTES_MAX.iter().try_for_each(|&bytes_max| check(stream, bytes_max))
    });
}

fn check(stream: &[u8], bytes_max: usize) -> TestCaseResult {
    let (events, end) = decode([stream], bytes_max);
    for cut in [1, 2, 3, 7, 64] {
        prop_assert_eq!(
            decode(stream.chunks(cut), bytes_max),
            (events.clone(), end),
            "cut at every {} bytes",
            cut
        );
    }
    prop_assert_eq!(
        &decode(by_lines(stream), bytes_max),
        &(events.clone(), end),
        "cut at its lines"
    );

    let raw: Vec<u8> = events.iter().flat_map(|event| event.raw.to_vec()).collect();
    let said = stream.strip_prefix(BOM).unwrap_or(stream);
    prop_assert!(said.starts_with(&raw), "what is passed on is what came");
    match end {
        Ok(true) => prop_assert!(
            raw.len() == said.len() || BOM.starts_with(stream),
            "nothing is left out"
        ),
        Ok(false) => prop_assert!(raw.len() < stream.len()),
        Err(SseError::TooLong { .. }) => prop_assert!(said.len() > bytes_max),
    }
    for given in &events {
        prop_assert!(given.raw.len() <= bytes_max);
        if let Some(data) = &given.data {
            let again = decode([&event(data)[..]], usize::MAX);
            let data_again: Vec<_> = again.0.iter().map(|event| event.data.clone()).collect();
            prop_assert_eq!(data_again, [Some(data.clone())], "what is written is read again");
        }
    }
    Ok(())
}

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, bytes_max: usize) -> (Vec<Event>, Result<bool, SseError>) {
    let (mut decoder, mut events) = (EventDecoder::new(bytes_max), Vec::new());
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Err(error)),
            }
        }
    }
    (events, Ok(decoder.is_between_events()))
}

/// Cut before and behind every end of a line, where a decoder has most to remember.
fn by_lines(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    stream.chunk_by(|one, next| !(b"\r\n".contains(one) || b"\r\n".contains(next)))
}
