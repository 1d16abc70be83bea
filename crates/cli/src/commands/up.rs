//! `waft up`

mod report;

use std::{process, thread, time::Duration};

use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use waft_local::{UpEvent, UpOptions};

use self::report::{Reporter, Words};
use crate::{arguments::Report, exit::ExitStatus, printer::Printer};

/// Events waiting to be printed. Past it, lines of guests are dropped rather than memory filled.
const EVENTS: usize = 1024;
/// Longest time between the second signal and the end.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Runs the platform until a signal, or until it can't go on.
pub(crate) async fn up(
    options: UpOptions,
    report: Report,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    raise_open_files();
    // Before anything is started, so that no signal is missed.
    let signals = Signals::listen().context("signals can't be listened to")?;
    let stop = CancellationToken::new();
    let (sender, events) = mpsc::channel(EVENTS);
    let platform = async {
        let result = waft_local::up(options, sender, stop.clone()).await;
        // The printer may wait for a reader that is gone; then it ends with the platform.
        (result, stop.cancel())
    };
    let words = print(events, report, printer, &stop);
    let interrupted = second_signal(signals, &stop, printer);
    tokio::select! {
        ((result, ()), printed) = async { tokio::join!(platform, words) } => {
            result?;
            printed?;
            Ok(ExitStatus::Success)
        }
        // Dropping the platform removes its temporary folder; whatever was acknowledged is on disk.
        () = interrupted => Ok(ExitStatus::Interrupted),
    }
}

/// Takes as many open files as the system gives without being asked for more: connections, images
/// and the files of guests are all of one process.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What it had is what it keeps if it is refused.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Prints events until there are no more. If nobody reads them, the platform stops.
async fn print(
    mut events: mpsc::Receiver<UpEvent>,
    report: Report,
    printer: &Printer,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let mut reporter = Reporter::new(report);
    let mut result = Ok(());
    while let Some(event) = events.recv().await {
        if result.is_ok() {
            result = reporter
                .words(&event)
                .into_iter()
                .try_for_each(|words| words.say(printer));
            if result.is_err() {
                stop.cancel();
            }
        }
    }
    printer.progress_done();
    result
}

/// The signals that end a program.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Stops the platform at the first signal, and ends at the second.
async fn second_signal(mut signals: Signals, stop: &CancellationToken, printer: &Printer) {
    signals.next().await;
    printer.note("finishing requests; once more quits at once");
    stop.cancel();
    signals.next().await;
    // At once is what was asked for, whatever tidying up still finds to do.
    thread::spawn(|| {
        thread::sleep(LAST_MOMENT);
        process::exit(ExitStatus::Interrupted.code().into());
    });
}

impl Words {
    fn say(&self, printer: &Printer) -> std::io::Result<()> {
        match self {
            Self::Data(line) => printer.data(line)?,
            Self::Told(line) => printer.told(line)?,
            Self::Guest(..) if printer.is_quiet() => {}
            Self::Guest(prefix, line) => printer.guest(prefix, line)?,
            Self::Note(line) => printer.note(line),
            Self::Warning(line) => printer.warning(line),
            Self::Progress(line) => printer.progress(line),
            Self::Done => printer.progress_done(),
        }
        Ok(())
    }
}
