use std::time::Duration;

use futures::StreamExt;
use tokio::time::timeout;
use waft_ir::{LogLine, LogQuery, LogSource, Workload, WorkloadId};

use super::*;
use crate::event::Event;

fn workload(name: &str) -> Workload {
    Workload {
        id: WorkloadId(name.into()),
        namespace: "default".into(),
        name: name.into(),
        app: "w".into(),
        annotations: Default::default(),
        components: vec![],
        service: None,
        grants: vec![],
        volumes: vec![],
    }
}

fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|l| l.text.as_str()).collect()
}

async fn read(log: &WorkloadLog, query: LogQuery) -> Vec<LogLine> {
    log.read(query).await.collect().await
}

/// Waits until the writer has taken everything that was sent so far.
async fn settled(log: &WorkloadLog) {
    read(log, LogQuery::default()).await;
}

async fn reads_back(directory: Option<PathBuf>) {
    let logs = Logs::start(directory.clone(), Arc::new(Events::new())).unwrap();
    let log = logs.open(&workload("w"), [("a", 1 << 20), ("b", 1 << 20)]);
    let (a, b) = (Sink(log.component(0)), Sink(log.component(1)));
    a.line(LogSource::Stdout, Some("r1"), "one");
    b.line(LogSource::Stderr, None, "two\nthree");
    let before_last = SystemTime::now();
    a.line(LogSource::Logging, None, "INFO [] four");

    let all = read(&log, LogQuery::default()).await;
    assert_eq!(texts(&all), ["one", "two", "three", "INFO [] four"]);
    assert_eq!(all[0].request.as_deref(), Some("r1"));
    assert_eq!(all[1].source, LogSource::Stderr);
    assert_eq!(all[2].component, "b");
    let of_b = LogQuery {
        component: Some("b".into()),
        ..Default::default()
    };
    assert_eq!(texts(&read(&log, of_b).await), ["two", "three"]);
    let tail = LogQuery {
        tail: Some(2),
        ..Default::default()
    };
    assert_eq!(texts(&read(&log, tail).await), ["three", "INFO [] four"]);
    let since = LogQuery {
        since: Some(before_last),
        ..Default::default()
    };
    assert_eq!(texts(&read(&log, since).await), ["INFO [] four"]);

    log.close();
    assert!(read(&log, LogQuery::default()).await.is_empty());
    if let Some(directory) = directory {
        assert!(!directory.join("default").exists());
    }
}

#[tokio::test]
async fn lines_are_read_back_from_files() {
    let folder = tempfile::tempdir().unwrap();
    reads_back(Some(folder.path().join("logs"))).await;
}

#[tokio::test]
async fn lines_are_read_back_from_memory() {
    reads_back(None).await;
}

#[tokio::test]
async fn the_file_holds_time_stream_request_and_text() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs::start(Some(folder.path().into()), Arc::new(Events::new())).unwrap();
    let log = logs.open(&workload("w"), [("a", 1 << 20)]);
    Sink(log.component(0)).line(LogSource::Stdout, Some("r1"), "hello\u{1b}[0m");
    settled(&log).await;
    let text = std::fs::read_to_string(folder.path().join("default/w/a.log")).unwrap();
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert_eq!(rest, "stdout r1 hello\\e[0m\n");
}

#[tokio::test]
async fn a_follower_misses_nothing_and_ends_with_the_workload() {
    let logs = Logs::start(None, Arc::new(Events::new())).unwrap();
    let log = logs.open(&workload("w"), [("a", 1 << 20)]);
    let sink = Sink(log.component(0));
    sink.line(LogSource::Stdout, None, "before");
    let follow = LogQuery {
        follow: true,
        ..Default::default()
    };
    let mut lines = log.read(follow).await;
    sink.line(LogSource::Stdout, None, "after");
    let patience = Duration::from_secs(60);
    for expected in ["before", "after"] {
        let line = timeout(patience, lines.next()).await.unwrap().unwrap();
        assert_eq!(line.text, expected);
    }
    log.close();
    assert_eq!(timeout(patience, lines.next()).await.unwrap(), None);
}

#[tokio::test]
async fn past_the_rate_lines_are_dropped_and_one_line_says_how_many() {
    let logs = Logs::start(None, Arc::new(Events::new())).unwrap();
    let log = logs.open(&workload("w"), [("a", 1000)]);
    let follow = LogQuery {
        follow: true,
        ..Default::default()
    };
    let mut lines = log.read(follow).await;
    let sink = Sink(log.component(0));
    // However long this thread is interrupted.
    sink.0.bucket.lock().fills_no_more();
    let text = "x".repeat(436);
    for _ in 0..10 {
        sink.line(LogSource::Stdout, None, &text);
    }
    let mut next = async || {
        let line = timeout(Duration::from_secs(60), lines.next()).await;
        line.unwrap().unwrap().text
    };
    assert_eq!([next().await, next().await], [text.clone(), text]);
    // One line, unless it took a second to write them.
    let mut dropped = 0;
    while dropped < 8 {
        let said = next().await;
        let (count, why) = said.split_once(" lines: ").unwrap();
        dropped += count
            .strip_prefix("dropped ")
            .unwrap()
            .parse::<u64>()
            .unwrap();
        assert_eq!(
            why,
            "limits.logBytesPerSecond is 1000, and of what is said at once 65536 bytes are taken"
        );
    }
    assert_eq!(dropped, 8);
}

#[tokio::test]
async fn of_a_long_text_a_part_is_taken_and_the_rest_is_counted() {
    let logs = Logs::start(None, Arc::new(Events::new())).unwrap();
    let log = logs.open(&workload("w"), [("a", 1 << 30)]);
    let sink = Sink(log.component(0));
    let piece = "x".repeat(MAX_LINE);
    // Each source has it: this is what a message's handler may say.
    sink.line(LogSource::Host, None, &format!("{piece}é\nnext"));
    let kept = async || {
        let mut lines = read(&log, LogQuery::default()).await;
        // After a second one says how many were dropped.
        lines.retain(|line| !line.text.starts_with("dropped"));
        lines
    };
    let lines = kept().await;
    assert_eq!(texts(&lines), [&piece, "é", "next"]);
    assert_eq!(sink.dropped(), 0);

    sink.line(LogSource::Host, None, &"x".repeat(16 << 20));
    let lines = kept().await;
    assert_eq!(texts(&lines)[3..], [piece.as_str(); 4]);
    assert_eq!(sink.dropped(), 1);

    let many = format!("{:127}\n", "x").repeat(2000);
    sink.line(LogSource::Host, None, &many);
    let lines = kept().await;
    assert_eq!(lines.len(), 7 + 512);
    assert_eq!(sink.dropped(), 1 + 2000 - 512);
}

#[tokio::test]
async fn a_namesake_keeps_its_file_when_the_older_one_goes() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs::start(Some(folder.path().into()), Arc::new(Events::new())).unwrap();
    let old = logs.open(&workload("w"), [("a", 1 << 20)]);
    let new = logs.open(&workload("w"), [("a", 1 << 20)]);
    Sink(new.component(0)).line(LogSource::Stdout, None, "kept");
    old.close();
    assert_eq!(texts(&read(&new, LogQuery::default()).await), ["kept"]);
    assert!(folder.path().join("default/w/a.log").exists());
}

#[tokio::test]
async fn listeners_get_the_lines() {
    let events = Arc::new(Events::new());
    let mut listener = events.subscribe();
    let logs = Logs::start(None, events).unwrap();
    let log = logs.open(&workload("w"), [("a", 1 << 20)]);
    Sink(log.component(0)).line(LogSource::Stderr, None, "hello");
    match timeout(Duration::from_secs(60), listener.recv())
        .await
        .unwrap()
    {
        Ok(Event::Line { workload, line }) => {
            assert_eq!((&*workload, &*line.text), ("default/w", "hello"));
        }
        other => panic!("{other:?}"),
    }
}
