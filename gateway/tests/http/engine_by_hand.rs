//! An engine that answers with whatever bytes a test writes, from threads of its own: it can flood without pause, and
//! the test's runtime still gets its turn.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The head of a stream in HTTP/1.1's chunks.
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// Listens, and hands every connection to `answer` once its request has been read. Returns the URL.
pub fn engine(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, mut stream) = (answer.clone(), stream.expect("a connection"));
            std::thread::spawn(move || {
                if read_request(&mut stream) {
                    answer(stream);
                }
            });
        }
    });
    url
}

/// Says `events` in a stream that then neither goes on nor ends, until the other side leaves.
pub fn says_and_stays(mut stream: TcpStream, events: &str) {
    let chunk = format!("{:x}\r\n{events}\r\n", events.len());
    let _ = stream.write_all(&[STREAM_HEAD, chunk.as_bytes()].concat());
    let _ = stream.read(&mut [0]);
}

/// Answers in one piece and stays until the other side leaves.
pub fn says_whole(mut stream: TcpStream, body: &str) {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body.as_bytes());
    let _ = stream.read(&mut [0]);
}

/// How far a flood has come.
#[derive(Default)]
pub struct Flood {
    /// Chunks that were sent.
    pub chunks: AtomicU64,
    /// Whether the other side has hung up.
    pub is_over: AtomicBool,
}

impl Flood {
    /// Sends a stream of `piece`, each in a chunk of its own, as fast as they are taken.
    pub fn pour(&self, mut stream: TcpStream, piece: &str) {
        const CHUNKS_A_WRITE: usize = 1000;
        let chunks = format!("{:x}\r\n{piece}\r\n", piece.len()).repeat(CHUNKS_A_WRITE);
        let mut is_taken = stream.write_all(STREAM_HEAD).is_ok();
        while is_taken {
            is_taken = stream.write_all(chunks.as_bytes()).is_ok();
            self.chunks.fetch_add(CHUNKS_A_WRITE as u64, Ordering::Relaxed);
        }
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Reads a request with its body; `false` if the connection ends before.
fn read_request(stream: &mut TcpStream) -> bool {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
            if body.len() >= length {
                return true;
            }
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return false,
        }
    }
}
