//! `waft version`

use serde_json::json;

use crate::{arguments::Report, exit::ExitStatus, printer::Printer};

/// Prints the version of this program, and what it was built for.
pub(crate) fn version(report: Report, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let version = env!("CARGO_PKG_VERSION");
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    match report {
        Report::Text => printer.data(format_args!("waft {version} ({os} {arch})"))?,
        Report::Json => printer.data(json!({"version": version, "os": os, "arch": arch}))?,
    }
    Ok(ExitStatus::Success)
}
