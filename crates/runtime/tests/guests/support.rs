//! An engine shared by all tests, guests with given limits, and requests.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use waft_ir::{Limits, LogSource, Pool};
use waft_runtime::{
    Body, BodyError, CallError, CallInfo, Compiled, Engine, EngineBuilder, EngineConfig, Guest,
    GuestSpec, LogSink, Loopback, ResponseBody, request_body,
};

/// One engine for all tests, with a cache that lasts as long as they do.
pub(crate) static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| EngineBuilder::new(EngineConfig::default()).build().unwrap());

/// Lines that a guest wrote.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<(LogSource, Option<String>, String)>>);

impl LogSink for Lines {
    fn line(&self, source: LogSource, request: Option<&str>, text: &str) {
        let line = (source, request.map(Into::into), text.to_owned());
        self.0.lock().push(line);
    }
}

impl Lines {
    pub(crate) fn of(&self, source: LogSource) -> Vec<(Option<String>, String)> {
        let lines = self.0.lock();
        let of = lines.iter().filter(|(from, ..)| *from == source);
        of.map(|(_, request, text)| (request.clone(), text.clone()))
            .collect()
    }
}

pub(crate) fn spec() -> (GuestSpec, Arc<Lines>) {
    let lines = Arc::new(Lines::default());
    let spec = GuestSpec {
        workload: "default/test".into(),
        app: "test".into(),
        component: "main".into(),
        pool: Pool::default(),
        limits: Limits::default(),
        environment: BTreeMap::from([("COLOUR".into(), "green".into())]),
        config: BTreeMap::new(),
        grants: Vec::new(),
        egress: Arc::default(),
        loopback: Loopback::default(),
        mounts: Vec::new(),
        log: lines.clone(),
    };
    (spec, lines)
}

pub(crate) async fn load(name: &str) -> Compiled {
    let path = waft_guests::path(name);
    let wasm = std::fs::read(path).unwrap();
    ENGINE.load(wasm.into(), name).await.unwrap()
}

/// A guest whose spec a test has changed.
pub(crate) async fn guest(name: &str, change: impl FnOnce(&mut GuestSpec)) -> (Guest, Arc<Lines>) {
    let compiled = load(name).await;
    let (mut spec, lines) = spec();
    change(&mut spec);
    (ENGINE.link(&compiled, spec).await.unwrap(), lines)
}

pub(crate) fn info(id: &str) -> CallInfo {
    CallInfo {
        origin: Arc::<str>::from(id).into(),
        timeout: None,
    }
}

pub(crate) fn request(path: &str, body: Body) -> http::Request<Body> {
    http::Request::get(path)
        .header("host", "hello.localhost")
        .body(body)
        .unwrap()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    request_body(Full::new(bytes.into()))
}

/// A request without a body, as the guest answers it.
pub(crate) async fn send(
    guest: &Guest,
    path: &str,
) -> Result<http::Response<ResponseBody>, CallError> {
    guest.handle(request(path, full("")), info("r1")).await
}

/// The text of the answer to a request.
pub(crate) async fn get(guest: &Guest, path: &str) -> Result<String, CallError> {
    let response = send(guest, path).await?;
    Ok(text(response).await.unwrap())
}

pub(crate) async fn text(response: http::Response<ResponseBody>) -> Result<String, BodyError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// Waits for something that happens in the background.
pub(crate) async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
