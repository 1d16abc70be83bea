//! A registry in the test's own process: it serves one image and does what a test tells it to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, Response, StatusCode, header},
    response::IntoResponse,
};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

/// What a test changes about one request's answer; `None` leaves it as it is.
type Trouble = Box<dyn Fn(&Seen) -> Option<Response<Body>> + Send + Sync>;

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// How many requests with the same method and target came before.
    pub(crate) nth: usize,
}

/// A running registry; it ends with its test's runtime.
#[derive(Clone)]
pub(crate) struct Server {
    shared: Arc<Shared>,
    pub(crate) host: String,
}

struct Shared {
    content: Mutex<BTreeMap<String, Bytes>>,
    seen: Mutex<Vec<Seen>>,
    trouble: Trouble,
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

impl Server {
    /// A registry without faults.
    pub(crate) async fn start() -> Self {
        Self::with(|_| None).await
    }

    /// A registry that answers some requests in another way.
    pub(crate) async fn with(
        trouble: impl Fn(&Seen) -> Option<Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            content: Mutex::default(),
            seen: Mutex::default(),
            trouble: Box::new(trouble),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, host }
    }

    /// Puts content under `manifests/…` or `blobs/…` of the repository `app`.
    pub(crate) fn put(&self, path: &str, bytes: impl Into<Bytes>) {
        let mut content = self.shared.content.lock();
        content.insert(format!("/v2/app/{path}"), bytes.into());
    }

    /// Puts an image under a tag and returns its digest.
    pub(crate) fn image(&self, tag: &str, wasm: &[u8]) -> String {
        self.put(&format!("blobs/{}", digest(wasm)), wasm.to_vec());
        self.manifest(tag, wasm, wasm.len() as u64)
    }

    /// Puts the manifest of an image whose layer is said to have some size.
    pub(crate) fn manifest(&self, tag: &str, wasm: &[u8], size: u64) -> String {
        let layer = json!({"mediaType": "application/wasm", "digest": digest(wasm), "size": size});
        let manifest = json!({"schemaVersion": 2, "layers": [layer]}).to_string();
        let name = digest(manifest.as_bytes());
        self.put(&format!("manifests/{name}"), manifest.clone());
        self.put(&format!("manifests/{tag}"), manifest);
        name
    }

    pub(crate) fn reference(&self, tag: &str) -> String {
        format!("{}/app:{tag}", self.host)
    }

    /// Methods and last path elements of all requests so far, forgotten afterwards.
    pub(crate) fn requests(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.shared.seen.lock());
        let short = |seen: Seen| {
            let path = seen.target.split('?').next().unwrap_or_default();
            let path = path.strip_prefix("/v2/app/").unwrap_or(path);
            let kind = path.split(':').next().unwrap_or_default();
            format!("{} {kind}", seen.method)
        };
        seen.into_iter().map(short).collect()
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }
}

impl Seen {
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.headers.get(header::AUTHORIZATION)?.to_str().ok()
    }

    pub(crate) fn is_blob(&self) -> bool {
        self.target.contains("/blobs/")
    }
}

/// An answer with a status and headers.
pub(crate) fn status(status: u16, headers: &[(&str, &str)], body: &str) -> Option<Response<Body>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Some(response.body(body.to_owned().into()).unwrap())
}

/// An answer that announces more bytes than it sends, then breaks off or hangs.
pub(crate) fn cut(bytes: Bytes, announced: usize, hang: bool) -> Option<Response<Body>> {
    let end = async move {
        if hang {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        Err(std::io::Error::other("cut"))
    };
    let start = futures::stream::iter([Ok(bytes)]);
    let body = futures::StreamExt::chain(start, futures::stream::once(end));
    let response = Response::builder().header(header::CONTENT_LENGTH, announced);
    Some(response.body(Body::from_stream(body)).unwrap())
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let target = parts.uri.to_string();
    let seen = {
        let mut all = shared.seen.lock();
        let same = |s: &&Seen| s.target == target && s.method == parts.method;
        let nth = all.iter().filter(same).count();
        let seen = Seen {
            method: parts.method,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
            target,
            nth,
        };
        all.push(seen.clone());
        seen
    };
    if let Some(response) = (shared.trouble)(&seen) {
        return response;
    }
    let content = shared.content.lock().get(&seen.target).cloned();
    match content {
        Some(bytes) => ([("docker-content-digest", digest(&bytes))], bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
