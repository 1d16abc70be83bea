//! `waft crds`

use crate::{exit::ExitStatus, printer::Printer};

/// Prints the custom resource definitions.
pub(crate) fn crds(printer: &Printer) -> anyhow::Result<ExitStatus> {
    printer.raw(waft_api::crds_yaml())?;
    Ok(ExitStatus::Success)
}
