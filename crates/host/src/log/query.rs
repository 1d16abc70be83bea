//! Reads logs back: what is kept, merged by time, and then what comes.

use std::io::{BufRead, BufReader, Read as _};

use futures::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use waft_ir::{LogLine, LogQuery, LogStream};

use super::{
    WorkloadLog, line,
    writer::{Kept, KeptLines, Message, Read},
};

/// Lines that may wait for a reader who follows.
const FOLLOW_QUEUE: usize = 1024;

pub(super) async fn read(log: &WorkloadLog, query: LogQuery) -> LogStream {
    let wanted = |name: &str| query.component.as_deref().is_none_or(|c| c == name);
    let numbers = log
        .components
        .iter()
        .filter(|c| wanted(&c.name))
        .map(|c| c.number)
        .collect();
    let (follow, news) = if query.follow {
        let (sender, receiver) = mpsc::channel(FOLLOW_QUEUE);
        (Some(sender), Some(receiver))
    } else {
        (None, None)
    };
    let (reply, kept) = oneshot::channel();
    log.shared.send(Message::Read(Read {
        numbers,
        follow,
        reply,
    }));
    let kept = kept.await.unwrap_or_default();
    let since = query.since;
    let is_new = move |line: &LogLine| since.is_none_or(|since| line.time >= since);
    let lines = tokio::task::spawn_blocking(move || {
        let mut lines: Vec<LogLine> = kept.into_iter().flat_map(lines_of).collect();
        lines.retain(is_new);
        // Stable: lines of one component stay in the order they were written.
        lines.sort_by_key(|l| l.time);
        if let Some(tail) = query.tail {
            lines.drain(..lines.len().saturating_sub(tail));
        }
        lines
    });
    let lines = stream::iter(lines.await.unwrap_or_default());
    let Some(news) = news else {
        return lines.boxed();
    };
    let news = stream::unfold(news, async |mut news| {
        news.recv().await.map(|line| (line, news))
    });
    let news = news.filter(move |line| std::future::ready(is_new(line)));
    lines.chain(news).boxed()
}

fn lines_of(kept: Kept) -> Vec<LogLine> {
    let files = match kept.lines {
        KeptLines::Memory(lines) => return lines,
        KeptLines::Files(files) => files,
    };
    let mut lines = Vec::new();
    for (file, length) in files {
        let mut reader = BufReader::new(file.take(length));
        let mut bytes = Vec::new();
        // A file that can't be read to its end gives what it has.
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
            lines.extend(line::parse(&kept.component, &text));
            bytes.clear();
        }
    }
    lines
}
