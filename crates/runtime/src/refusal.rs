//! What a guest tried within the interfaces it has, and was refused: counted, so that an operator
//! sees who tries. What it may send over the network is [`Denied`](crate::Denied)'s matter.

/// Why it was refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// A path that leads out of its mount, or that the system does not permit.
    Path,
    /// A change of what is mounted read-only.
    ReadOnly,
    /// A device, a pipe or a socket in a folder of the machine.
    SpecialFile,
    /// One more open file, or value of an object, than a component may have.
    OpenFiles,
    /// A header that is the host's own, as `host` or `transfer-encoding`.
    Header,
    /// A header that is none: with CR or LF in its name or value, or a length that contradicts.
    MalformedHeader,
    /// A subject that is none, or that is reserved.
    Subject,
    /// A message that is larger than the broker takes.
    MessageSize,
    /// A bucket that the manifest does not grant, or of another namespace.
    Bucket,
    /// A change of a bucket that the manifest grants only to read.
    ReadOnlyBucket,
    /// Values past what a namespace may keep.
    StoreFull,
}

impl Refusal {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 11] = [
        Self::Path,
        Self::ReadOnly,
        Self::SpecialFile,
        Self::OpenFiles,
        Self::Header,
        Self::MalformedHeader,
        Self::Subject,
        Self::MessageSize,
        Self::Bucket,
        Self::ReadOnlyBucket,
        Self::StoreFull,
    ];

    /// The CamelCase name, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "PathNotPermitted",
            Self::ReadOnly => "ReadOnlyMount",
            Self::SpecialFile => "SpecialFile",
            Self::OpenFiles => "OpenFiles",
            Self::Header => "ForbiddenHeader",
            Self::MalformedHeader => "MalformedHeader",
            Self::Subject => "SubjectNotPermitted",
            Self::MessageSize => "MessageTooLarge",
            Self::Bucket => "BucketNotGranted",
            Self::ReadOnlyBucket => "ReadOnlyBucket",
            Self::StoreFull => "StoreFull",
        }
    }
}
