//! A bucket that speaks as much of the S3 API as the store of epochs asks for, in memory, on a real socket.
//!
//! `FILATURE_TEST_S3=http://host:port` has the tests use a real server instead (bucket `filature-test`, key `test`,
//! secret `test`), each with a prefix of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use filature_billing::{EpochStore, S3Settings};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rand::RngExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

pub struct Bucket {
    endpoint: String,
    prefix: String,
    _server: JoinSet<()>,
}

impl Bucket {
    pub async fn start() -> Self {
        let mut server = JoinSet::new();
        if let Ok(endpoint) = std::env::var("FILATURE_TEST_S3") {
            let prefix = format!("{:016x}/", rand::rng().random::<u64>());
            return Self {
                endpoint,
                prefix,
                _server: server,
            };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        server.spawn(serve(listener));
        Self {
            endpoint,
            prefix: String::new(),
            _server: server,
        }
    }

    pub fn store(&self, prefix: &str) -> EpochStore {
        let settings = S3Settings {
            bucket: "filature-test".into(),
            prefix: format!("{}{prefix}", self.prefix),
            region: Some("us-east-1".into()),
            endpoint: Some(self.endpoint.clone()),
            access_key: Some(("test".into(), "test".into())),
            // Whoever names a real server for the tests means it.
            allow_http: true,
        };
        EpochStore::s3(&settings).expect("settings")
    }
}

async fn serve(listener: TcpListener) {
    let objects = Objects::default();
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let objects = Arc::clone(&objects);
        let service = service_fn(move |request| answer(Arc::clone(&objects), request));
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

async fn answer(objects: Objects, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let key = head
        .uri
        .path()
        .trim_start_matches("/filature-test")
        .trim_start_matches('/');
    let range = head.headers.get("range").and_then(|range| range.to_str().ok());
    let mut objects = objects.lock().expect("no panic");
    let (status, body, of) = match (&head.method, key) {
        (&Method::PUT, key) if head.headers.contains_key("if-none-match") && objects.contains_key(key) => {
            (StatusCode::PRECONDITION_FAILED, Bytes::new(), None)
        }
        (&Method::PUT, key) => {
            objects.insert(key.to_owned(), body);
            (StatusCode::OK, Bytes::new(), None)
        }
        (_, "") => {
            let listed = list(&objects, head.uri.query().unwrap_or_default());
            (StatusCode::OK, listed.into(), None)
        }
        (_, key) => match (objects.get(key), range) {
            (None, _) => (StatusCode::NOT_FOUND, Bytes::new(), None),
            (Some(object), None) => (StatusCode::OK, object.clone(), None),
            (Some(object), Some(range)) => {
                let (start, end) = range.trim_start_matches("bytes=").split_once('-').expect("a range");
                let start: usize = start.parse().expect("a number");
                let end = end.parse::<usize>().expect("a number").min(object.len() - 1);
                let of = format!("bytes {start}-{end}/{}", object.len());
                (StatusCode::PARTIAL_CONTENT, object.slice(start..=end), Some(of))
            }
        },
    };
    let mut response = Response::builder()
        .status(status)
        .header("etag", "\"tag\"")
        .header("last-modified", "Fri, 15 Jan 2027 08:00:00 GMT");
    if let Some(of) = of {
        response = response.header("content-range", of);
    }
    Ok(response.body(Full::new(body)).expect("a response"))
}

/// The second version of S3's listing, in one page.
fn list(objects: &BTreeMap<String, Bytes>, query: &str) -> String {
    let query: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let prefix = query.get("prefix").copied().unwrap_or_default().replace("%2F", "/");
    let (mut contents, mut folders) = (String::new(), BTreeSet::new());
    for (key, object) in objects
        .range(prefix.clone()..)
        .take_while(|(key, _)| key.starts_with(&prefix))
    {
        match key[prefix.len()..].split_once('/') {
            Some((folder, _)) if query.contains_key("delimiter") => {
                folders.insert(format!("{prefix}{folder}/"));
            }
            _ => {
                contents += &format!(
                    "<Contents><Key>{key}</Key><Size>{}</Size><ETag>tag</ETag>\
                 <LastModified>2027-01-15T08:00:00.000Z</LastModified></Contents>",
                    object.len()
                )
            }
        }
    }
    let folders: String = folders
        .iter()
        .map(|folder| format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"))
        .collect();
    format!("<ListBucketResult>{contents}{folders}</ListBucketResult>")
}
