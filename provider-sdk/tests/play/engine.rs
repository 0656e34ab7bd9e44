//! Plays the engine: an HTTP/1.1 server on a real socket, written by hand so that a test decides every byte and sees
//! the very moment at which the agent goes away.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::soon;

/// The head and first bytes of a streamed answer, in chunked coding.
pub const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nserver: secret/1.0\r\ntransfer-encoding: chunked\r\n\r\n";

/// A listener the agent forwards to.
pub struct Engine(TcpListener);

/// One connection of the agent's.
pub struct Connection {
    tcp: TcpStream,
    unread: Vec<u8>,
}

/// The head of a request, as it came.
#[derive(Debug)]
pub struct Head {
    pub line: String,
    pub headers: BTreeMap<String, String>,
}

impl Engine {
    pub async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    pub async fn accept(&self) -> Connection {
        let (tcp, _) = soon("the agent connects to the engine", self.0.accept()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Connection {
            tcp,
            unread: Vec::new(),
        }
    }

    /// Takes a call and answers it with the head of a stream.
    pub async fn begin_stream(&self) -> Connection {
        let mut connection = self.accept().await;
        connection.request().await;
        connection.write(STREAM_HEAD).await;
        connection
    }
}

impl Connection {
    pub async fn head(&mut self) -> Head {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            self.fill().await;
        };
        let text = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(n, v)| (n.to_lowercase(), v.to_owned()));
        Head {
            line,
            headers: headers.collect(),
        }
    }

    /// Exactly `length` bytes of body.
    pub async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            self.fill().await;
        }
        self.unread.drain(..length).collect()
    }

    /// Head and body of a request with a `content-length`.
    pub async fn request(&mut self) -> (Head, Vec<u8>) {
        let head = self.head().await;
        let length = head.headers["content-length"].parse().unwrap();
        let body = self.body(length).await;
        (head, body)
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        soon("the agent takes bytes", self.tcp.write_all(bytes.as_ref()))
            .await
            .unwrap();
    }

    /// One chunk of a chunked body.
    pub async fn chunk(&mut self, data: &str) {
        self.write(format!("{:x}\r\n{data}\r\n", data.len())).await;
    }

    pub async fn end_chunks(&mut self) {
        self.write("0\r\n\r\n").await;
    }

    /// A whole answer of status 200.
    pub async fn answer(&mut self, body: &str) {
        let length = body.len();
        self.write(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
    }

    /// Returns when the agent has closed the connection.
    pub async fn closed(mut self) {
        let mut rest = [0; 1024];
        let gone = async { while matches!(self.tcp.read(&mut rest).await, Ok(1..)) {} };
        soon("the agent leaves the engine", gone).await;
    }

    async fn fill(&mut self) {
        let read = soon("bytes from the agent", self.tcp.read_buf(&mut self.unread))
            .await
            .unwrap();
        assert!(read > 0, "the agent closed the connection before it was asked to");
    }
}
