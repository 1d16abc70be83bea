//! `waft completion`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{arguments::Arguments, exit::ExitStatus, printer::Printer};

/// Prints a shell's completion script.
pub(crate) fn completion(shell: Shell, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "waft", &mut script);
    printer.raw(String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Success)
}
