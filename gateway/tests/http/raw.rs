//! Callers that do not keep to the rules: connections whose bytes a test sends and reads by hand, and waiting for what
//! they lead to.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::exchange::Exchanges;
use crate::gateway::Gateway;

/// How long anything may take; far below the defaults of the deadlines that the tests set.
pub const PATIENCE: Duration = Duration::from_secs(20);
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// A connection on which `bytes` were sent.
pub async fn send(gateway: &Gateway, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port))
        .await
        .expect("a connection");
    stream.write_all(bytes.as_ref()).await.expect("sent");
    stream
}

/// The same with hardly any room for what comes back.
pub async fn send_from_a_narrow_socket(gateway: &Gateway, bytes: impl AsRef<[u8]>) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.port));
    let mut stream = socket.connect(address).await.expect("a connection");
    stream.write_all(bytes.as_ref()).await.expect("sent");
    stream
}

/// A call as bytes.
pub fn call(key: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads until `is_enough`, or to the end. Fails if neither comes.
pub async fn read_until(stream: &mut TcpStream, mut is_enough: impl FnMut(&str) -> bool) -> String {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if is_enough(&text) {
            return text.into_owned();
        }
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
        match read.expect("more, or an end") {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            // A reset is an end as well.
            _ => return String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// Everything up to the connection's end, which the gateway must make.
pub async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _reset_or_end = read.expect("an end of the connection");
    bytes
}

/// The status of an answer, once its head is here.
pub async fn status(stream: &mut TcpStream) -> u16 {
    let head = read_until(stream, |text| text.contains("\r\n\r\n")).await;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status: {head:?}"))
}

/// The sum of the series of a metric whose line contains `label`.
pub async fn metric(gateway: &Gateway, name: &str, label: &str) -> u64 {
    let page = Exchanges::new(gateway).get("/metrics").await;
    let page = String::from_utf8_lossy(&page.body).into_owned();
    let of_name = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
    };
    let values = page
        .lines()
        .filter(of_name)
        .filter_map(|line| line.split(' ').next_back());
    values.map(|value| value.parse::<u64>().expect("a number")).sum()
}

/// Asks again until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(ASK_AGAIN).await;
    }
}
