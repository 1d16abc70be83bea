//! What guests print, as it is kept and followed.

use futures::StreamExt;
use tokio::time::timeout;
use waft_ir::{HostLink, LogLine, LogQuery, LogSource, WorkloadId};

use crate::{
    connections::wait_until,
    harness::{PATIENCE, RUNTIME, Rig},
};

fn read(rig: &Rig, query: LogQuery) -> Vec<LogLine> {
    let id = WorkloadId("uid-w".into());
    RUNTIME.block_on(async {
        let lines = rig.host.logs(&id, query).await.collect();
        timeout(PATIENCE, lines).await.unwrap()
    })
}

#[test]
fn lines_keep_their_stream_and_request() {
    let rig = Rig::serving("hello-p2");
    rig.connect()
        .request("GET /log?word HTTP/1.1\r\nhost: test\r\nx-request-id: r-7\r\n\r\n");
    let lines = read(&rig, LogQuery::default());
    let found = |source, text: &str| {
        lines.iter().any(|l| {
            l.source == source
                && l.text == text
                && l.component == "main"
                && l.request.as_deref() == Some("r-7")
        })
    };
    assert!(found(LogSource::Stdout, "word"), "{lines:?}");
    assert!(found(LogSource::Stderr, "error: word"), "{lines:?}");
    let file = rig.folder.path().join("logs/default/w/main.log");
    let file = std::fs::read_to_string(file).unwrap();
    assert!(file.contains(" stdout r-7 word\n"), "{file}");
}

#[test]
fn a_trap_leaves_its_backtrace() {
    let rig = Rig::serving("trap-p2");
    rig.get("/now");
    let lines = read(&rig, LogQuery::default());
    let of_host: Vec<_> = lines
        .iter()
        .filter(|l| l.source == LogSource::Host)
        .map(|l| l.text.as_str())
        .collect();
    assert!(of_host.len() > 1, "{lines:?}");
    assert!(
        of_host.iter().any(|l| l.contains("unreachable")),
        "{of_host:?}"
    );
}

#[test]
fn following_ends_when_the_workload_goes() {
    let rig = Rig::serving("hello-p2");
    let id = WorkloadId("uid-w".into());
    let follow = LogQuery {
        follow: true,
        tail: Some(0),
        ..LogQuery::default()
    };
    let mut lines = RUNTIME.block_on(rig.host.logs(&id, follow));
    rig.get("/log?live");
    let next = |lines: &mut waft_ir::LogStream| {
        RUNTIME.block_on(async { timeout(PATIENCE, lines.next()).await.unwrap() })
    };
    assert_eq!(next(&mut lines).unwrap().text, "live");
    assert_eq!(next(&mut lines).unwrap().text, "error: live");
    rig.stop(&id);
    assert_eq!(next(&mut lines), None);
    rig.wait_for(&id, |state| state.is_none());
    assert!(read(&rig, LogQuery::default()).is_empty());
    wait_until(|| !rig.folder.path().join("logs/default/w").exists());
}
