//! What went wrong with a request, and what to do about it.

use std::{error::Error, io, path::PathBuf, time::Duration};

use kube::{config::KubeconfigError, core::Status};

use crate::{
    advice::Advice,
    settings::{ConnectionSettings, Kubeconfig},
    text,
};

/// What to do about a server that is not there.
const IS_IT_RUNNING: &str = "is it running? `waft up` starts a platform; another is named with \
                             `--kubeconfig` or `--context`";

/// How an API server begins to say of a manifest that it does not fit its kind. It calls that an error
/// of its own, 500.
const UNTYPED: &str = "failed to create typed patch object";

/// A request that the server refused.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    message: String,
    code: u16,
    /// Kind of what the refusal is about, as the server names it.
    about: String,
    /// The fields that others have set.
    conflicts: Vec<String>,
    hint: Option<&'static str>,
}

/// An error of a request.
pub(super) fn request(error: kube::Error, server: &str) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => refused(status),
        kube::Error::Auth(error) => Advice::error(
            format!("the kubeconfig's credentials can't be used: {error}"),
            "choose another context with `--context`, or another kubeconfig with `--kubeconfig`",
        ),
        error => {
            let cause = root_cause(&error);
            let hint = if cause.contains("certificate") {
                "the kubeconfig is of another platform, or of an earlier one; name the right one \
                 with `--kubeconfig`"
            } else {
                IS_IT_RUNNING
            };
            Advice::error(
                format!("the API at {server} can't be reached: {cause}"),
                hint,
            )
        }
    }
}

/// The failure of a server that takes requests and does not answer them.
pub(super) fn no_answer(server: &str, within: Duration) -> anyhow::Error {
    Advice::error(
        format!(
            "the API at {server} gave no answer within {} s",
            within.as_secs()
        ),
        "it is overloaded or stuck, or something else listens there; try again, or name another \
         with `--kubeconfig` or `--context`",
    )
}

/// The failure of an answer that is read line by line and breaks off.
pub(super) fn broken_off(error: &io::Error, server: &str) -> anyhow::Error {
    let cause = root_cause(error);
    // Some causes end with an address of their documentation, which is for programmers.
    let cause = cause.split(": https://").next().unwrap_or_default();
    Advice::error(
        format!("the API at {server} broke its answer off: {cause}"),
        IS_IT_RUNNING,
    )
}

fn refused(status: Box<Status>) -> anyhow::Error {
    let is_untyped = status.message.contains(UNTYPED);
    let hint = match (status.code, status.reason.as_str()) {
        (500, _) if is_untyped => Some(
            "correct the manifest: it has a field that its kind has not, or a value of another type",
        ),
        (401, _) => Some("the kubeconfig is of another platform, or of an earlier one"),
        (403, "Forbidden") => Some("ask whoever runs the cluster for this right"),
        (409, "Conflict") => Some("`--force-conflicts` takes the fields over"),
        (429 | 500.., _) => Some("try again; if it stays, look at what the server prints"),
        _ => None,
    };
    let message = match status.message.as_str() {
        "" => format!("the API answered {} {}", status.code, status.reason),
        message => message.into(),
    };
    let details = status.details.map(|details| (details.kind, details.causes));
    let (about, causes) = details.unwrap_or_default();
    let conflicts = causes.into_iter();
    let conflicts = conflicts.filter(|cause| cause.reason == "FieldManagerConflict");
    anyhow::Error::new(Refused {
        message,
        code: status.code,
        about,
        conflicts: conflicts.map(|cause| cause.field).collect(),
        hint,
    })
}

impl Refused {
    /// What to do about it, if there is something to say.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

/// Whether an error says that something is not there.
pub(super) fn is_not_found(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|refused| refused.code == 404)
}

/// Whether an error says that what was asked can't be answered as things are.
pub(super) fn is_bad_request(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|refused| refused.code == 400)
}

/// Whether an error says that a namespace is not there.
pub(super) fn is_missing_namespace(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|refused| refused.code == 404 && refused.about == "namespaces")
}

/// Whether an error says that others have set fields, and all of these end with this name.
pub(super) fn is_conflict_only_of(error: &anyhow::Error, field: &str) -> bool {
    let refused = error.downcast_ref::<Refused>();
    let conflicts = refused.map_or(&[][..], |refused| &refused.conflicts);
    !conflicts.is_empty() && conflicts.iter().all(|conflict| conflict.ends_with(field))
}

/// The failure of a user without a kubeconfig.
pub(super) fn no_kubeconfig(search: &str, places: &[PathBuf]) -> anyhow::Error {
    Advice::error(
        format!("there is no kubeconfig: {search} {}", quoted(places)),
        "start a platform with `waft up`, or name a kubeconfig with `--kubeconfig`",
    )
}

fn quoted(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    text::quoted(paths.iter().map(String::as_str))
}

/// An error of a kubeconfig.
pub(super) fn kubeconfig(error: KubeconfigError, settings: &ConnectionSettings) -> anyhow::Error {
    let places = match &settings.kubeconfig {
        Kubeconfig::Files(paths) | Kubeconfig::None(paths) | Kubeconfig::Absent(paths) => {
            quoted(paths)
        }
    };
    let hint = match error {
        KubeconfigError::LoadContext(_) | KubeconfigError::CurrentContextNotSet => {
            "name one of its contexts with `--context`"
        }
        _ => "name another with `--kubeconfig`; `waft up` prints its own",
    };
    Advice::error(
        format!(
            "the kubeconfig {places} can't be used: {}",
            root_cause(&error)
        ),
        hint,
    )
}

/// The innermost cause: the outer ones say only that a request failed.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
