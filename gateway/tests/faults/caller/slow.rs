//! A caller on a thin line: it reads its answer a little at a time, through a small window.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::stack::Stack;

/// What is read at a time, and the pause after it: about 2.5 MB/s.
const PIECE_BYTES: usize = 16 << 10;
const PAUSE: Duration = Duration::from_millis(6);
/// The kernel doubles it.
const WINDOW_BYTES: usize = 8 << 10;

/// A call whose head has come and whose body is still to be read.
pub struct SlowReader {
    stream: TcpStream,
    /// What came of the body with the head.
    got: usize,
    announced: usize,
}

impl SlowReader {
    /// Makes a call that is not streamed and reads the head of its answer.
    pub fn call(stack: &Stack, body: &str) -> Self {
        let (address, request) = stack.client.raw_post("/v1/chat/completions", body);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(WINDOW_BYTES).expect("a small window");
        socket.connect(&address.into()).expect("a connection");
        let mut stream = TcpStream::from(socket);
        stream.write_all(request.as_bytes()).expect("sent");
        let mut head = Vec::new();
        let end = loop {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece).expect("an answer");
            assert!(count > 0, "no answer");
            head.extend_from_slice(&piece[..count]);
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&head[..end]).to_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}");
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .expect("a length");
        Self {
            stream,
            got: head.len() - end,
            announced: length.trim().parse().expect("a number"),
        }
    }

    /// Reads the rest, slowly. How many bytes of the body came, and how many were announced.
    pub fn read_all(&mut self) -> (usize, usize) {
        let mut piece = vec![0; PIECE_BYTES];
        while self.got < self.announced {
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(count) => self.got += count,
            }
            // Slowness is what this caller is about.
            std::thread::sleep(PAUSE);
        }
        (self.got, self.announced)
    }
}
