//! Cuts a byte stream into server-sent events and writes events.
//!
//! Follows the WHATWG event stream format (HTML Living Standard, section 9.2.6): lines end in LF, CRLF or CR, an empty
//! line ends an event. What an event's data means is left to [`chunk`](crate::chunk).

use bytes::{Buf, Bytes, BytesMut};

/// The data of the event that ends an OpenAI stream.
pub const DONE: &[u8] = b"[DONE]";

/// The whole event that ends an OpenAI stream.
pub static DONE_EVENT: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One event of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The event as it came, with the empty line that ends it. A byte order mark at the start of a stream is left out.
    pub raw: Bytes,
    /// Its `data` lines joined by LF; `None` if it has none, as with comments.
    pub data: Option<Bytes>,
}

/// Why a stream cannot be cut into events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SseError {
    /// An event is longer than allowed. The decoder gives nothing more.
    #[error("a server-sent event is longer than {bytes_max} bytes")]
    TooLong {
        /// The limit, in bytes.
        bytes_max: usize,
    },
}

/// Cuts chunks of bytes into events. Events do not depend on how the bytes were cut into chunks.
///
/// An event that lies wholly in one chunk is a slice of that chunk. If its empty line ends in CR, it is given out once
/// the next byte shows that no LF belongs to it.
#[derive(Debug)]
pub struct EventDecoder {
    bytes_max: usize,
    /// The start of an unfinished event, from earlier chunks.
    held: BytesMut,
    /// What is not yet cut up.
    rest: Bytes,
    /// How much of `rest` has been searched in vain. Never beyond its length.
    scanned: usize,
    at_line_start: bool,
    last_was_cr: bool,
    at_stream_start: bool,
    too_long: bool,
}

impl EventDecoder {
    /// A decoder at the start of a stream that takes events of up to `event_bytes_max` bytes.
    #[must_use]
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            bytes_max: event_bytes_max,
            held: BytesMut::new(),
            rest: Bytes::new(),
            scanned: 0,
            at_line_start: true,
            last_was_cr: false,
            at_stream_start: true,
            too_long: false,
        }
    }

    /// Takes the next bytes of the stream. Costs no copy if [`Self::next_event`] has given `None` before.
    pub fn push(&mut self, chunk: Bytes) {
        if self.rest.is_empty() {
            self.rest = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.rest.len() + chunk.len());
            joined.extend_from_slice(&self.rest);
            joined.extend_from_slice(&chunk);
            self.rest = joined.freeze();
        }
    }

    /// The next whole event; `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`SseError::TooLong`] once the next event is known to be longer than allowed, and from then on.
    pub fn next_event(&mut self) -> Result<Option<Event>, SseError> {
        if self.at_stream_start && !self.skip_bom() {
            return Ok(None);
        }
        let end = if self.too_long { None } else { self.find_end() };
        let length = self.held.len() + end.unwrap_or(self.rest.len());
        if self.too_long || length > self.bytes_max {
            self.too_long = true;
            self.rest.clear();
            return Err(SseError::TooLong {
                bytes_max: self.bytes_max,
            });
        }
        let Some(end) = end else {
            self.held.extend_from_slice(&self.rest);
            self.rest.clear();
            self.scanned = 0;
            return Ok(None);
        };
        let raw = if self.held.is_empty() {
            self.rest.split_to(end)
        } else {
            self.held.extend_from_slice(&self.rest[..end]);
            self.rest.advance(end);
            self.held.split().freeze()
        };
        self.scanned = 0;
        self.at_line_start = true;
        self.last_was_cr = false;
        let data = data_of(&raw);
        Ok(Some(Event { raw, data }))
    }

    /// Whether every byte so far belongs to an event already given out. If a stream ends when not, it was cut off.
    #[must_use]
    pub fn is_between_events(&self) -> bool {
        self.held.is_empty() && self.rest.is_empty()
    }

    /// Skips a byte order mark; `false` if more bytes are needed to tell whether there is one.
    fn skip_bom(&mut self) -> bool {
        if self.rest.len() < BOM.len() && BOM.starts_with(&self.rest) {
            return false;
        }
        if self.rest.starts_with(BOM) {
            self.rest.advance(BOM.len());
        }
        self.at_stream_start = false;
        true
    }

    /// Where in `rest` the event ends.
    fn find_end(&mut self) -> Option<usize> {
        let bytes = &self.rest[..];
        let mut at = self.scanned;
        loop {
            if self.last_was_cr {
                // A CR is behind us: it ended an empty line or an ordinary one, and an LF here belongs to it.
                let next = *bytes.get(at)?;
                at += usize::from(next == b'\n');
                self.last_was_cr = false;
                if self.at_line_start {
                    return Some(at);
                }
                self.at_line_start = true;
                self.scanned = at;
            }
            let found = memchr::memchr2(b'\n', b'\r', bytes.get(at..).unwrap_or_default());
            let Some(found) = found else {
                self.at_line_start &= at == bytes.len();
                self.scanned = bytes.len();
                return None;
            };
            self.at_line_start &= found == 0;
            at += found + 1;
            self.scanned = at;
            if bytes[at - 1] == b'\r' {
                self.last_was_cr = true;
            } else if self.at_line_start {
                return Some(at);
            } else {
                self.at_line_start = true;
            }
        }
    }
}

/// The joined `data` lines of an event; a slice of it if there is only one.
fn data_of(raw: &Bytes) -> Option<Bytes> {
    let mut first: Option<&[u8]> = None;
    let mut joined: Option<BytesMut> = None;
    let mut rest = &raw[..];
    while !rest.is_empty() {
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        // The LF of a CRLF leaves an empty line behind, which holds no data.
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        let Some(value) = data_line(line) else { continue };
        match (first, &mut joined) {
            (None, _) => first = Some(value),
            (Some(_), Some(joined)) => {
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(value);
            }
            (Some(before), None) => joined = Some([before, value].join(&b'\n').as_slice().into()),
        }
    }
    joined
        .map(BytesMut::freeze)
        .or_else(|| first.map(|value| raw.slice_ref(value)))
}

/// The value of a `data` line: what follows the colon and at most one space.
fn data_line(line: &[u8]) -> Option<&[u8]> {
    let after = line.strip_prefix(b"data")?;
    if after.is_empty() {
        return Some(after);
    }
    let value = after.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// An event that carries `data`, as `data: …` with an empty line. Line ends in `data` start further `data` lines.
#[must_use]
pub fn event(data: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(data.len() + b"data: \n\n".len());
    for line in lines(data) {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.extend_from_slice(b"\n");
    }
    event.extend_from_slice(b"\n");
    event.freeze()
}

/// A comment, which clients ignore: it keeps an idle connection open.
#[must_use]
pub fn comment(text: &str) -> Bytes {
    let mut event = BytesMut::with_capacity(text.len() + b": \n\n".len());
    for line in lines(text.as_bytes()) {
        event.extend_from_slice(b": ");
        event.extend_from_slice(line);
        event.extend_from_slice(b"\n");
    }
    event.extend_from_slice(b"\n");
    event.freeze()
}

/// `text` cut at LF, CRLF and CR.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = memchr::memchr2(b'\n', b'\r', text) else {
            rest = None;
            return Some(text);
        };
        let ending = if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = Some(&text[end + ending..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES_MAX: usize = 1 << 16;

    fn decode<'a>(
        chunks: impl IntoIterator<Item = &'a [u8]>,
        bytes_max: usize,
    ) -> (Vec<Event>, Result<bool, SseError>) {
        let mut decoder = EventDecoder::new(bytes_max);
        let mut events = Vec::new();
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

    #[track_caller]
    fn check(stream: &str, expected: &[Option<&str>], whole: bool) {
        let (events, end) = decode([stream.as_bytes()], BYTES_MAX);
        let data: Vec<_> = events
            .iter()
            .map(|event| event.data.as_ref().map(|data| str::from_utf8(data).unwrap()))
            .collect();
        assert_eq!(data, expected, "{stream:?}");
        assert_eq!(end, Ok(whole), "{stream:?}");
        let raw: Vec<u8> = events.iter().flat_map(|event| event.raw.to_vec()).collect();
        let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream).as_bytes();
        assert!(
            stream.starts_with(&raw) && (!whole || raw.len() == stream.len()),
            "{stream:?}"
        );
    }

    #[test]
    fn events_are_cut_as_the_standard_says() {
        check("", &[], true);
        check("data: a\n\n", &[Some("a")], true);
        check(
            "data: a\n\ndata: b\n\ndata: [DONE]\n\n",
            &[Some("a"), Some("b"), Some("[DONE]")],
            true,
        );
        check("data: a\r\n\r\ndata: b\n\n", &[Some("a"), Some("b")], true);
        check("data: a\r\rdata: b\r\rx", &[Some("a"), Some("b")], false);
        check("data: a\n\r\ndata: b\r\n\n", &[Some("a"), Some("b")], true);
        check("data:a\n\ndata:  b\n\n", &[Some("a"), Some(" b")], true);
        check("data\n\ndata:\n\ndata: \n\n", &[Some(""), Some(""), Some("")], true);
        check("data: a\ndata: b\n\n", &[Some("a\nb")], true);
        check(
            "data: a\r\ndata\r\ndata:c\r\n\r\nx: 1\n\n",
            &[Some("a\n\nc"), None],
            true,
        );
        check(": keep alive\n\n", &[None], true);
        check("event: x\nid: 7\nretry: 5\ndata: a\n: c\n\n", &[Some("a")], true);
        check("datax: a\nDATA: b\n data: c\n\n", &[None], true);
        check("\n\n\ndata: a\n\n", &[None, None, None, Some("a")], true);
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &[Some("a"), None], true);
        check("\u{feff}\u{feff}data: a\n\n", &[None], true);
        check("data: a", &[], false);
        check("data: a\n", &[], false);
        check("data: a\n\ndata: b\n", &[Some("a")], false);
        // The LF that may belong to the last CR has not come.
        check("data: a\n\ndata: b\r\n\r", &[Some("a")], false);
        check("data: {\"a\":\"\\n\"}\n\n", &[Some("{\"a\":\"\\n\"}")], true);
    }

    #[test]
    fn an_event_in_one_chunk_is_a_slice_of_it() {
        let chunk = Bytes::from_static(b"data: one\n\n: note\n\ndata: two\r\n\r\nda");
        let inside = chunk.as_ptr() as usize..chunk.as_ptr() as usize + chunk.len();
        let mut decoder = EventDecoder::new(BYTES_MAX);
        decoder.push(chunk);
        let mut count = 0;
        while let Some(event) = decoder.next_event().unwrap() {
            assert!(inside.contains(&(event.raw.as_ptr() as usize)));
            assert!(event.data.is_none_or(|data| inside.contains(&(data.as_ptr() as usize))));
            count += 1;
        }
        assert_eq!((count, decoder.is_between_events()), (3, false));
    }

    #[test]
    fn an_event_that_is_too_long_ends_the_decoding() {
        let too_long = Err(SseError::TooLong { bytes_max: 10 });
        assert_eq!(decode([&b"data: ab\n\n"[..]], 10).1, Ok(true));
        for stream in [
            "data: abc\n\n",
            "data: abcdefghijklmnopqrst",
            "data: ab\n\ndata: abc\n\n",
            ": 3456789ab",
        ] {
            assert_eq!(decode([stream.as_bytes()], 10).1, too_long, "{stream}");
            assert_eq!(decode(stream.as_bytes().chunks(1), 10).1, too_long, "{stream}");
        }
        let mut decoder = EventDecoder::new(3);
        decoder.push(Bytes::from_static(b"data: a\n\n"));
        assert!(decoder.next_event().is_err());
        decoder.push(Bytes::from_static(b"\n\n"));
        assert!(decoder.next_event().is_err(), "an error is final");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for data in ["", "{}", "a\nb", "a\r\nb", "a\n", "\n", " lead"] {
            let (events, end) = decode([&event(data.as_bytes())[..]], BYTES_MAX);
            assert_eq!((events.len(), end), (1, Ok(true)), "{data:?}");
            let read = events[0].data.clone().unwrap();
            assert_eq!(str::from_utf8(&read).unwrap(), data.replace("\r\n", "\n"));
        }
        assert_eq!(event(DONE), DONE_EVENT);
        assert_eq!(comment("keep alive"), ": keep alive\n\n");
        let (events, _) = decode([&comment("a\ndata: b")[..]], BYTES_MAX);
        assert_eq!((events.len(), &events[0].data), (1, &None));
    }

    /// The events of a stream by the letter of the standard: slow, in several passes, over the whole of it.
    fn by_the_letter(stream: &str) -> Vec<Option<String>> {
        let stream = stream
            .strip_prefix('\u{feff}')
            .unwrap_or(stream)
            .replace("\r\n", "\n")
            .replace('\r', "\n");
        let mut events = Vec::new();
        let mut data: Option<String> = None;
        let mut lines: Vec<_> = stream.split('\n').collect();
        lines.pop();
        for line in lines {
            if line.is_empty() {
                events.push(data.take());
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            if name == "data" {
                let value = value.strip_prefix(' ').unwrap_or(value);
                data = Some(data.map_or(value.to_owned(), |data| format!("{data}\n{value}")));
            }
        }
        events
    }

    fn any_stream() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "\n",
            "\n\n",
            "\r",
            "\r\n",
            "\r\n\r\n",
            "data",
            "data:",
            "data: ",
            ":",
            " ",
            "x",
            "{\"a\":1}",
            "é🚀",
            "id: 7",
            "\u{feff}",
            "data: [DONE]\n\n",
        ]);
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn events_do_not_depend_on_how_the_stream_is_cut(
            stream in any_stream(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            bytes_max in prop_oneof![Just(BYTES_MAX), 1..40_usize],
        ) {
            let bytes = stream.as_bytes();
            let whole = decode([bytes], bytes_max);
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            prop_assert_eq!(&decode(at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]), bytes_max), &whole);
            prop_assert_eq!(&decode(bytes.chunks(1), bytes_max), &whole);
            // Chunks pushed before earlier ones are drained.
            let mut decoder = EventDecoder::new(bytes_max);
            at.windows(2).for_each(|pair| decoder.push(Bytes::copy_from_slice(&bytes[pair[0]..pair[1]])));
            for event in &whole.0 {
                prop_assert_eq!(decoder.next_event(), Ok(Some(event.clone())));
            }
            prop_assert_eq!(decoder.next_event(), whole.1.map(|_| None));
        }

        #[test]
        fn events_are_those_of_the_letter_of_the_standard(stream in any_stream()) {
            // A byte that belongs to nothing settles whether an LF follows the last CR.
            let (events, _) = decode([stream.as_bytes(), b"x"], BYTES_MAX);
            let data: Vec<_> = events.iter()
                .map(|event| event.data.as_ref().map(|data| str::from_utf8(data).unwrap().to_owned()))
                .collect();
            prop_assert_eq!(data, by_the_letter(&stream));
        }

        #[test]
        fn no_random_bytes_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let total: usize = chunks.iter().map(Vec::len).sum();
            let (events, _) = decode(chunks.iter().map(Vec::as_slice), BYTES_MAX);
            prop_assert!(events.iter().map(|event| event.raw.len()).sum::<usize>() <= total);
        }
    }
}
