//! What went wrong with a request, and what to do about it.

use std::{error::Error, path::PathBuf};

use kube::{config::KubeconfigError, core::Status};

use crate::{
    advice::Advice,
    settings::{ConnectionSettings, Kubeconfig},
    text,
};

/// A request that the server refused.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    message: String,
    code: u16,
    /// Kind of what the refusal is about, as the server names it.
    about: String,
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
                "is it running? `waft up` starts a platform; another is named with `--kubeconfig` \
                 or `--context`"
            };
            Advice::error(
                format!("the API at {server} can't be reached: {cause}"),
                hint,
            )
        }
    }
}

fn refused(status: Box<Status>) -> anyhow::Error {
    let hint = match (status.code, status.reason.as_str()) {
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
    let about = status.details.map(|details| details.kind);
    anyhow::Error::new(Refused {
        message,
        code: status.code,
        about: about.unwrap_or_default(),
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

/// Whether an error says that a namespace is not there.
pub(super) fn is_missing_namespace(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|refused| refused.code == 404 && refused.about == "namespaces")
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
