//! Plays the engine: an HTTP/1.1 server on a real socket, written by hand so that a test decides every byte and sees
//! the very moment at which the agent goes away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::soon;

/// The head and first bytes of a streamed answer, in chunked coding.
pub const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nserver: secret/1.0\r\ntransfer-encoding: chunked\r\n\r\n";

/// A listener the agent forwards to.
pub struct Engine(TcpListener);

/// What an engine says of itself at one path: path, status, header `Server`, body.
pub type Page = (&'static str, u16, &'static str, &'static str);

/// An engine that answers by itself; gone once this is dropped.
pub struct Serving {
    task: JoinSet<()>,
    asked: Asked,
}

/// The paths that were asked for.
type Asked = Arc<Mutex<Vec<String>>>;

impl Serving {
    /// Whether `path` was asked for, and the answer read to its end.
    pub fn has_answered(&self, path: &str) -> bool {
        self.asked.lock().unwrap().iter().any(|asked| asked == path)
    }

    /// Ends it, and its connections.
    pub async fn end(mut self) {
        self.task.shutdown().await;
    }
}

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

    /// The same address again, once nobody listens there any more.
    pub async fn at(url: &str) -> Self {
        Self(TcpListener::bind(url.trim_start_matches("http://")).await.unwrap())
    }

    /// Answers every request with the page of its path, with 404 where there is none, and with `{}` to every call,
    /// until dropped.
    pub fn serve(self, pages: &'static [Page]) -> Serving {
        let mut task = JoinSet::new();
        let asked = Asked::default();
        let notes = asked.clone();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = self.0.accept().await {
                let unread = Vec::new();
                connections.spawn(Connection { tcp, unread }.serve(pages, notes.clone()));
            }
        });
        Serving { task, asked }
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

    /// Answers one request by `pages`.
    async fn serve(mut self, pages: &[Page], asked: Asked) {
        let head = self.head().await;
        let length = head
            .headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        self.body(length).await;
        let path = head.line.split(' ').nth(1).unwrap();
        let page = pages.iter().find(|(known, ..)| *known == path);
        let (status, server, body) = match page {
            Some((_, status, server, body)) => (*status, *server, *body),
            None if path.starts_with("/v1/") && length > 0 => (200, "", "{}"),
            None => (404, pages.first().map_or("", |(_, _, server, _)| *server), "{}"),
        };
        let server = if server.is_empty() {
            String::new()
        } else {
            format!("server: {server}\r\n")
        };
        let length = body.len();
        self.write(format!(
            "HTTP/1.1 {status} X\r\n{server}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
        let path = path.to_owned();
        self.closed().await;
        asked.lock().unwrap().push(path);
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
