//! The Kubernetes API, as the commands talk to it: JSON in and out, by path.
//!
//! Objects are [`Value`]s throughout: the commands show and pass on whatever the server has, known
//! kinds or not, without losing a field.

mod catalog;
mod problem;

use std::{io, time::Duration};

use futures::AsyncBufRead;
use http::{Method, Request, header};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig as Contents},
};
use serde_json::Value;
use url::form_urlencoded;

pub(crate) use self::{
    catalog::{Catalog, Resource},
    problem::Refused,
};
use crate::{
    advice::Advice,
    settings::{ConnectionSettings, Kubeconfig},
};

/// Asks for a table, and takes a plain list from a server that has none.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// Asks for plain JSON.
pub(crate) const JSON: &str = "application/json";
/// Content type of a server-side apply.
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// Longest wait for an answer, or for the head of one that is read line by line. kube-apiserver gives
/// up on a request after as long.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// An open connection.
pub(crate) struct Connection {
    client: Client,
    server: String,
    /// The namespace that was asked for, or the context's.
    pub(crate) namespace: String,
    /// Whether it was asked for.
    pub(crate) namespace_given: bool,
}

impl Connection {
    /// Reads the kubeconfig. The server is not asked yet.
    pub(crate) async fn open(settings: &ConnectionSettings) -> anyhow::Result<Self> {
        let contents = match &settings.kubeconfig {
            Kubeconfig::Files(paths) => paths.iter().try_fold(Contents::default(), |all, path| {
                Contents::read_from(path).and_then(|next| all.merge(next))
            }),
            Kubeconfig::None(places) => return Err(problem::no_kubeconfig("looked for", places)),
            Kubeconfig::Absent(places) => {
                return Err(problem::no_kubeconfig("$KUBECONFIG names", places));
            }
        };
        let options = KubeConfigOptions {
            context: settings.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match contents {
            Ok(contents) => Config::from_custom_kubeconfig(contents, &options).await,
            Err(error) => Err(error),
        };
        let config = config.map_err(|e| problem::kubeconfig(e, settings))?;
        let server = config.cluster_url.to_string();
        let namespace = settings.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        Ok(Self {
            client: Client::try_from(config)?,
            server: server.trim_end_matches('/').into(),
            namespace,
            namespace_given: settings.namespace.is_some(),
        })
    }

    /// What the server serves.
    pub(crate) async fn catalog(&self) -> anyhow::Result<Catalog> {
        let core = self.client.list_core_api_versions_aggregated();
        let groups = self.client.list_api_groups_aggregated();
        let both = async { futures::try_join!(core, groups) };
        let (core, groups) = self.answered(both).await?;
        Ok(Catalog::new(core, groups))
    }

    /// Reads something.
    pub(crate) async fn get(&self, path: &str, accept: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, &[(header::ACCEPT, accept)], Vec::new())
            .await
    }

    /// Reads something that may be absent.
    pub(crate) async fn find(&self, path: &str) -> anyhow::Result<Option<Value>> {
        match self.get(path, JSON).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if problem::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes something; `false` if it was not there.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<bool> {
        let options = br#"{"propagationPolicy":"Background"}"#.to_vec();
        let headers = [(header::CONTENT_TYPE, JSON)];
        match self.send(Method::DELETE, path, &headers, options).await {
            Ok(_) => Ok(true),
            Err(error) if problem::is_not_found(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes an object by server-side apply.
    pub(crate) async fn apply(&self, path: &str, object: &Value) -> anyhow::Result<Value> {
        let headers = [(header::CONTENT_TYPE, APPLY)];
        let body = serde_json::to_vec(object)?;
        self.send(Method::PATCH, path, &headers, body).await
    }

    /// Creates an object.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> anyhow::Result<Value> {
        let headers = [(header::CONTENT_TYPE, JSON)];
        let body = serde_json::to_vec(object)?;
        self.send(Method::POST, path, &headers, body).await
    }

    /// Reads something line by line, for as long as the server goes on.
    pub(crate) async fn lines(&self, path: &str) -> anyhow::Result<impl AsyncBufRead + use<>> {
        let request = Request::get(path).body(Vec::new())?;
        self.answered(self.client.request_stream(request)).await
    }

    /// The error of [lines](Self::lines) that end before they should.
    pub(crate) fn broken_off(&self, error: &io::Error) -> anyhow::Error {
        problem::broken_off(error, &self.server)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<Value> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        // Of all that is in it, only a name can be what no address has.
        let request = request.body(body).map_err(|_| {
            Advice::error(
                format!("`{path}` is no address of an object"),
                "a name or namespace has a character that no name has, a space for example",
            )
        })?;
        self.answered(self.client.request(request)).await
    }

    /// What the server answers, if it does in time.
    async fn answered<T>(
        &self,
        answer: impl Future<Output = Result<T, kube::Error>>,
    ) -> anyhow::Result<T> {
        match tokio::time::timeout(ANSWERED_WITHIN, answer).await {
            Ok(answer) => answer.map_err(|error| problem::request(error, &self.server)),
            Err(_) => Err(problem::no_answer(&self.server, ANSWERED_WITHIN)),
        }
    }
}

/// Whether an error says that the object is not there.
pub(crate) fn is_not_found(error: &anyhow::Error) -> bool {
    problem::is_not_found(error)
}

/// Whether an error says that what was asked can't be answered as things are.
pub(crate) fn is_bad_request(error: &anyhow::Error) -> bool {
    problem::is_bad_request(error)
}

/// Whether an error says that an object's namespace is not there.
pub(crate) fn is_missing_namespace(error: &anyhow::Error) -> bool {
    problem::is_missing_namespace(error)
}

/// Whether an error says that others have set fields, and all of these end with this name.
pub(crate) fn is_conflict_only_of(error: &anyhow::Error, field: &str) -> bool {
    problem::is_conflict_only_of(error, field)
}

/// A path with a query.
pub(crate) fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    if pairs.is_empty() {
        return path.into();
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    format!("{path}?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_given_up_on() {
        // Connections are taken by the kernel; nobody reads from them.
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let contents = format!(
            "clusters: [{{name: a, cluster: {{server: \"http://{address}\"}}}}]
users: [{{name: a, user: {{}}}}]
contexts: [{{name: a, context: {{cluster: a, user: a}}}}]
current-context: a"
        );
        std::fs::write(&path, contents).unwrap();
        let settings = ConnectionSettings {
            kubeconfig: Kubeconfig::Files(vec![path]),
            context: None,
            namespace: None,
        };
        let connection = Connection::open(&settings).await.unwrap();
        let asked = [
            connection.catalog().await.err(),
            connection.get("/api/v1/pods", JSON).await.err(),
            connection.lines("/api/v1/pods?watch=true").await.err(),
        ];
        for error in asked {
            let error = error.unwrap();
            let said = advice::message(&error);
            assert_eq!(
                said,
                format!("the API at http://{address} gave no answer within 60 s")
            );
            assert!(advice::hint(&error).is_some());
        }
    }
}
