//! What hosts and registries say, as reasons of conditions.

use waft_api::Reason;
use waft_ir::{Failure, FailureReason};

use crate::condition::Verdict;

/// The reason of a condition for a failure.
pub(crate) fn reason(reason: FailureReason) -> Reason {
    Reason::parse(reason.as_str()).unwrap_or(Reason::Internal)
}

/// The verdict for a failure.
pub(crate) fn verdict(failure: &Failure) -> Verdict {
    Verdict::no(reason(failure.reason), failure.message.clone())
}

/// Whether a host refuses the workload as it is, before anything of it is started: its members don't
/// fit each other or what hosts offer.
pub(crate) fn is_refusal(reason: FailureReason) -> bool {
    matches!(
        reason,
        FailureReason::UnsupportedImport
            | FailureReason::MissingExport
            | FailureReason::MultipleHttpHandlers
            | FailureReason::LinkFailed
            | FailureReason::NotSupportedYet
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_hosts_keep_their_names() {
        for of_host in [
            FailureReason::InvalidImageReference,
            FailureReason::PathNotAllowed,
            FailureReason::FileNotFound,
            FailureReason::ImageNotFound,
            FailureReason::ImagePullUnauthorized,
            FailureReason::ImagePullFailed,
            FailureReason::ImageNotCached,
            FailureReason::DigestMismatch,
            FailureReason::NotWasm,
            FailureReason::NotAComponent,
            FailureReason::InvalidComponent,
            FailureReason::PrecompiledRefused,
            FailureReason::UnsupportedImport,
            FailureReason::MissingExport,
            FailureReason::MultipleHttpHandlers,
            FailureReason::LinkFailed,
            FailureReason::NotSupportedYet,
            FailureReason::StartFailed,
            FailureReason::CrashLoopBackOff,
            FailureReason::RestartsExhausted,
            FailureReason::HostAtCapacity,
            FailureReason::BackendUnavailable,
            FailureReason::Internal,
        ] {
            assert_eq!(reason(of_host).as_str(), of_host.as_str());
        }
    }
}
