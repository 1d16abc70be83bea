//! Why the host, and not a guest, answered a request: status, reason, text and whether waiting
//! helps. The list is closed; `docs/` names each entry.

use http::StatusCode;
use waft_runtime::{CallError, TrapReason};

/// The reason of an answer that the host gives itself, as it stands in `x-waft-reason`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// The request line or a header line is not HTTP.
    MalformedRequest,
    /// A carriage return that does not end a line.
    BareCarriageReturn,
    /// A line that ends without a carriage return.
    BareLineFeed,
    /// A header value folded over several lines.
    ObsoleteFold,
    /// More than one `Content-Length`, or one that is no number.
    InvalidContentLength,
    /// A `Transfer-Encoding` other than `chunked`, or one beside a `Content-Length`.
    InvalidTransferEncoding,
    /// No `Host`.
    MissingHost,
    /// More than one `Host`, or one that is no host name.
    InvalidHost,
    /// No route has this host and path.
    NoRoute,
    /// The body is larger than the component's `limits.bodyBytes`.
    BodyTooLarge,
    /// The request target is too long.
    UriTooLong,
    /// The headers are larger than `limits.headerBytes`, or too many.
    HeadersTooLarge,
    /// The guest trapped.
    Trap,
    /// The guest trapped on a refused growth of its memory.
    MemoryLimit,
    /// The guest used up its `limits.cpuTime`.
    CpuTime,
    /// The guest ended its process instead of answering.
    Exit,
    /// The guest caused more host memory than a call may.
    HostResourceLimit,
    /// An upgrade or tunnel that is not served.
    UpgradeNotSupported,
    /// The guest answered with an error code instead of a response.
    GuestErrorCode,
    /// The guest's answer is no HTTP response.
    MalformedResponse,
    /// The guest ended without an answer.
    NoResponse,
    /// No replica is ready.
    NoReadyBackend,
    /// Too many requests wait for the component.
    QueueFull,
    /// The request waited longer than `limits.queueTimeout`.
    QueueTimeout,
    /// The instance that served the request was ended by another of its calls, or with its
    /// workload.
    InstanceLost,
    /// The host has no slot left for another instance.
    HostAtCapacity,
    /// No response headers within the deadline.
    Deadline,
}

impl Reason {
    pub(crate) const COUNT: usize = 27;

    /// All reasons, in the order of their statuses.
    pub const ALL: [Self; Self::COUNT] = [
        Self::MalformedRequest,
        Self::BareCarriageReturn,
        Self::BareLineFeed,
        Self::ObsoleteFold,
        Self::InvalidContentLength,
        Self::InvalidTransferEncoding,
        Self::MissingHost,
        Self::InvalidHost,
        Self::NoRoute,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::HeadersTooLarge,
        Self::Trap,
        Self::MemoryLimit,
        Self::CpuTime,
        Self::Exit,
        Self::HostResourceLimit,
        Self::UpgradeNotSupported,
        Self::GuestErrorCode,
        Self::MalformedResponse,
        Self::NoResponse,
        Self::NoReadyBackend,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::InstanceLost,
        Self::HostAtCapacity,
        Self::Deadline,
    ];

    /// The CamelCase name.
    pub fn as_str(self) -> &'static str {
        self.parts().1
    }

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        self.parts().0
    }

    /// The body of the answer: one line, and never a guest's words.
    pub fn text(self) -> &'static str {
        self.parts().2
    }

    /// Seconds after which it makes sense to try again, where waiting helps.
    pub fn retry_after(self) -> Option<u32> {
        (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(1)
    }

    /// Whether it ended an instance of the guest.
    pub(crate) fn is_trap(self) -> bool {
        self.status() == StatusCode::INTERNAL_SERVER_ERROR
    }

    /// Whether the connection can't go on, because where the next request begins is in doubt.
    pub(crate) fn ends_connection(self) -> bool {
        self <= Self::InvalidTransferEncoding
    }

    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedRequest => (
                S::BAD_REQUEST,
                "MalformedRequest",
                "the request is not valid HTTP\n",
            ),
            Self::BareCarriageReturn => (
                S::BAD_REQUEST,
                "BareCarriageReturn",
                "a carriage return stands inside a line of the request\n",
            ),
            Self::BareLineFeed => (
                S::BAD_REQUEST,
                "BareLineFeed",
                "a line of the request ends without a carriage return\n",
            ),
            Self::ObsoleteFold => (
                S::BAD_REQUEST,
                "ObsoleteFold",
                "a header of the request is folded over several lines\n",
            ),
            Self::InvalidContentLength => (
                S::BAD_REQUEST,
                "InvalidContentLength",
                "the request must have one content-length at most, and it must be a number\n",
            ),
            Self::InvalidTransferEncoding => (
                S::BAD_REQUEST,
                "InvalidTransferEncoding",
                "the only transfer-encoding is chunked, and then without a content-length\n",
            ),
            Self::MissingHost => (S::BAD_REQUEST, "MissingHost", "the request names no host\n"),
            Self::InvalidHost => (
                S::BAD_REQUEST,
                "InvalidHost",
                "the request must name one host, and it must be a host name\n",
            ),
            Self::NoRoute => (S::NOT_FOUND, "NoRoute", "no route has this host and path\n"),
            Self::BodyTooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "BodyTooLarge",
                "the request body is larger than this workload takes\n",
            ),
            Self::UriTooLong => (
                S::URI_TOO_LONG,
                "UriTooLong",
                "the request target is too long\n",
            ),
            Self::HeadersTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "HeadersTooLarge",
                "the request headers are larger than this workload takes\n",
            ),
            Self::Trap => (
                S::INTERNAL_SERVER_ERROR,
                "Trap",
                "the workload failed while it served the request\n",
            ),
            Self::MemoryLimit => (
                S::INTERNAL_SERVER_ERROR,
                "MemoryLimit",
                "the workload reached its memory limit\n",
            ),
            Self::CpuTime => (
                S::INTERNAL_SERVER_ERROR,
                "CpuTime",
                "the workload used up its processor time for one request\n",
            ),
            Self::Exit => (
                S::INTERNAL_SERVER_ERROR,
                "Exit",
                "the workload ended itself while it served the request\n",
            ),
            Self::HostResourceLimit => (
                S::INTERNAL_SERVER_ERROR,
                "HostResourceLimit",
                "the workload used up what the host grants one call\n",
            ),
            Self::UpgradeNotSupported => (
                S::NOT_IMPLEMENTED,
                "UpgradeNotSupported",
                "WebSocket and other upgrades are not served\n",
            ),
            Self::GuestErrorCode => (
                S::BAD_GATEWAY,
                "GuestErrorCode",
                "the workload answered with an error code\n",
            ),
            Self::MalformedResponse => (
                S::BAD_GATEWAY,
                "MalformedResponse",
                "the workload's answer is not a valid response\n",
            ),
            Self::NoResponse => (
                S::BAD_GATEWAY,
                "NoResponse",
                "the workload ended without an answer\n",
            ),
            Self::NoReadyBackend => (
                S::SERVICE_UNAVAILABLE,
                "NoReadyBackend",
                "no replica of the workload is ready\n",
            ),
            Self::QueueFull => (
                S::SERVICE_UNAVAILABLE,
                "QueueFull",
                "too many requests wait for the workload\n",
            ),
            Self::QueueTimeout => (
                S::SERVICE_UNAVAILABLE,
                "QueueTimeout",
                "the request waited too long for the workload\n",
            ),
            Self::InstanceLost => (
                S::SERVICE_UNAVAILABLE,
                "InstanceLost",
                "the instance that served the request has ended\n",
            ),
            Self::HostAtCapacity => (
                S::SERVICE_UNAVAILABLE,
                "HostAtCapacity",
                "the host has no room for another instance\n",
            ),
            Self::Deadline => (
                S::GATEWAY_TIMEOUT,
                "Deadline",
                "the workload did not answer in time\n",
            ),
        }
    }
}

impl From<&CallError> for Reason {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Trap { reason } => match reason {
                TrapReason::MemoryLimit => Self::MemoryLimit,
                TrapReason::CpuTime => Self::CpuTime,
                TrapReason::HostResourceLimit => Self::HostResourceLimit,
                TrapReason::Exit => Self::Exit,
                TrapReason::Unreachable | TrapReason::Other => Self::Trap,
            },
            CallError::Deadline => Self::Deadline,
            CallError::QueueFull => Self::QueueFull,
            CallError::QueueTimeout => Self::QueueTimeout,
            CallError::InstanceLost => Self::InstanceLost,
            CallError::HostAtCapacity => Self::HostAtCapacity,
            CallError::GuestErrorCode(_) => Self::GuestErrorCode,
            // A component without a handler is never made ready.
            CallError::NoResponse | CallError::NotHttp | CallError::NotMessaging => {
                Self::NoResponse
            }
            CallError::Malformed => Self::MalformedResponse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_and_prints_one_line() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(
                *reason as usize,
                at,
                "{} stands out of order",
                reason.as_str()
            );
            assert_eq!(format!("{reason:?}"), reason.as_str());
            assert_eq!(reason.text().matches('\n').count(), 1);
            assert!(reason.status().as_u16() >= 400);
        }
    }

    #[test]
    fn the_documentation_lists_the_same() {
        let text = include_str!("../../../docs/http-answers.md");
        let rows: Vec<_> = text
            .lines()
            .skip_while(|l| !l.starts_with("|---"))
            .filter(|l| l.contains("| `"))
            .collect();
        assert_eq!(rows.len(), Reason::COUNT);
        for (reason, row) in Reason::ALL.iter().zip(rows) {
            let wanted = format!("| {} | `{}` |", reason.status().as_u16(), reason.as_str());
            assert!(row.starts_with(&wanted), "{row} instead of {wanted}");
        }
    }

    #[test]
    fn waiting_helps_only_where_the_service_is_unavailable() {
        assert_eq!(Reason::QueueFull.retry_after(), Some(1));
        assert_eq!(Reason::Trap.retry_after(), None);
        assert_eq!(Reason::Deadline.retry_after(), None);
    }
}
