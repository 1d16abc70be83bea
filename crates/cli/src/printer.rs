//! Everything that `waft` prints goes through here: data to standard output, words about it to
//! standard error, progress only where somebody sits in front of it.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    sync::Mutex,
};

use crate::{advice, text};

/// The printer. Lines are written whole, so that those of several tasks don't mix.
#[derive(Debug)]
pub(crate) struct Printer {
    quiet: bool,
    /// Whether standard output is a terminal, which must not be fed a guest's control characters.
    output_terminal: bool,
    error_terminal: bool,
    /// Whether a progress line stands on the terminal.
    progress: Mutex<bool>,
}

/// Returns to the line's begin and clears it.
const CLEAR: &str = "\r\x1b[K";

impl Printer {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            output_terminal: io::stdout().is_terminal(),
            error_terminal: io::stderr().is_terminal(),
            progress: Mutex::new(false),
        }
    }

    /// Prints data: what the command was called for.
    pub(crate) fn data(&self, text: impl Display) -> io::Result<()> {
        self.write_data(&format!("{text}\n"))
    }

    /// Prints a line of a report, unless told to be quiet.
    pub(crate) fn told(&self, text: impl Display) -> io::Result<()> {
        if self.quiet { Ok(()) } else { self.data(text) }
    }

    /// Whether only data and errors are wanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints data that brings its own ends of lines.
    pub(crate) fn raw(&self, text: impl Display) -> io::Result<()> {
        self.write_data(&text.to_string())
    }

    /// Prints a line that a guest wrote, harmless for the terminal.
    pub(crate) fn guest(&self, prefix: &str, line: &str) -> io::Result<()> {
        match self.output_terminal {
            true => self.data(format_args!("{prefix}{}", text::visible(line))),
            false => self.data(format_args!("{prefix}{line}")),
        }
    }

    /// Says something about what is done, unless told to be quiet.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            self.write_words(&format!("{text}\n"));
        }
    }

    /// Says that something is wrong, though the command goes on.
    pub(crate) fn warning(&self, text: impl Display) {
        self.write_words(&format!("warning: {text}\n"));
    }

    /// Says why the command fails, and what to do.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let message = advice::message(error);
        self.write_words(&match advice::hint(error) {
            Some(hint) => format!("error: {message}\n\nhint: {hint}\n"),
            None => format!("error: {message}\n"),
        });
    }

    /// Shows how far something is, on one line that the next call replaces. Only on a terminal.
    pub(crate) fn progress(&self, text: impl Display) {
        if self.quiet || !self.error_terminal {
            return;
        }
        let mut shown = self.lock();
        *shown = true;
        // Whoever closed standard error does not want to be told.
        let _ = write!(io::stderr().lock(), "{CLEAR}{text}");
    }

    /// Takes the progress line away.
    pub(crate) fn progress_done(&self) {
        self.clear();
    }

    fn write_data(&self, text: &str) -> io::Result<()> {
        self.clear();
        let mut output = io::stdout().lock();
        output.write_all(text.as_bytes())?;
        output.flush()
    }

    fn write_words(&self, text: &str) {
        self.clear();
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    fn clear(&self) {
        if std::mem::take(&mut *self.lock()) {
            let _ = write!(io::stderr().lock(), "{CLEAR}");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, bool> {
        // The flag is right whatever became of the thread that held it.
        self.progress
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
