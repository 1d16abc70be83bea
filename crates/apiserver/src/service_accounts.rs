//! ServiceAccounts: one in every namespace, and tokens that prove to be one.

use serde_json::{Value, json};
use waft_apimachinery::meta;
use waft_apimachinery::request::WriteOptions;
use waft_apimachinery::status::{FieldError, Status};

use crate::answer;
use crate::identity::User;
use crate::open::ApiServer;
use crate::reviews::audiences;
use crate::service::Text;
use crate::store::Key;
use crate::tokens::ISSUER;

/// Where ServiceAccounts are stored.
pub(crate) const STORAGE: &str = "/serviceaccounts";

/// The account that every namespace has.
pub(crate) const DEFAULT: &str = "default";

/// How long a token lasts unless its request says otherwise, seconds; as on the real server.
const LIFETIME: i64 = 3600;

/// Requests for less are refused, seconds; as on the real server.
const SHORTEST: i64 = 600;

/// Requests for more are refused, seconds; as on the real server.
const LONGEST: i64 = 1 << 32;

const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

impl ApiServer {
    /// Gives a namespace its account.
    pub(crate) async fn make_default_account(&self, namespace: &str) -> Result<(), Status> {
        let key = Key::new(&STORAGE.into(), namespace, DEFAULT);
        if !self.namespace_stays(namespace) || self.store.get(&key).is_some() {
            return Ok(());
        }
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": DEFAULT, "namespace": namespace},
        });
        match self
            .create_internal("", "serviceaccounts", Some(namespace), account)
            .await
        {
            // Someone else made it, or the namespace has gone meanwhile.
            Err(status) if matches!(status.code, 403 | 404 | 409) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Answers a `TokenRequest` for an account.
    pub(crate) fn issue_token(
        &self,
        namespace: &str,
        name: &str,
        mut body: Value,
        options: &WriteOptions,
        text: &Text,
    ) -> Result<Value, Status> {
        let key = Key::new(&STORAGE.into(), namespace, name);
        let account = self.store.get(&key);
        let account = account.ok_or_else(|| Status::not_found("", "serviceaccounts", name))?;
        let given = body["metadata"]["name"].as_str().unwrap_or_default();
        if !given.is_empty() && given != name {
            return Err(Status::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        let lifetime = lifetime(&body["spec"])?;
        body["spec"]["expirationSeconds"] = lifetime.into();
        self.track_question(&mut body, options, text, Some("token"));
        let (audiences, now) = (audiences(&body["spec"]), answer::now());
        let id = uuid::Uuid::new_v4().to_string();
        let mut about = json!({
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": account.meta.uid},
        });
        let bound = &body["spec"]["boundObjectRef"];
        if bound.is_object() {
            let (field, uid) = self.bound(namespace, bound)?;
            about[field] = json!({"name": bound["name"], "uid": uid});
        }
        let claims = json!({
            "aud": audiences, "exp": now + lifetime, "iat": now, "iss": ISSUER, "jti": id,
            "kubernetes.io": about, "nbf": now, "sub": format!("system:serviceaccount:{namespace}:{name}"),
        });
        let token = self
            .tokens
            .sign(&claims)
            .ok_or_else(|| Status::internal("the system gives no random numbers"))?;
        let metadata = meta::metadata_mut(&mut body);
        metadata.insert("name".into(), name.into());
        metadata.insert("namespace".into(), namespace.into());
        metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
        metadata.insert("creationTimestamp".into(), crate::write::now().into());
        body["spec"]["audiences"] = audiences.into();
        if body["spec"].get("boundObjectRef").is_none() {
            body["spec"]["boundObjectRef"] = Value::Null;
        }
        let end = jiff::Timestamp::from_second(now + lifetime)
            .map_err(|error| Status::internal(error.to_string()))?;
        body["status"] = json!({"token": token, "expirationTimestamp": end.to_string()});
        Ok(body)
    }

    /// The claim's name and the uid of the object that a token ends with.
    fn bound(&self, namespace: &str, reference: &Value) -> Result<(&'static str, String), Status> {
        let (field, plural) = match reference["kind"].as_str().unwrap_or_default() {
            "Pod" => ("pod", "pods"),
            "Secret" => ("secret", "secrets"),
            "Node" => ("node", "nodes"),
            kind => {
                let version = reference["apiVersion"].as_str().unwrap_or_default();
                let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
                return Err(Status::bad_request(format!(
                    "cannot bind token to object of type {group}/{version}, Kind={kind}"
                )));
            }
        };
        let name = reference["name"].as_str().unwrap_or_default();
        let namespace = if plural == "nodes" { "" } else { namespace };
        let key = Key::new(&format!("/{plural}").into(), namespace, name);
        let stored = self.store.get(&key);
        let stored = stored.ok_or_else(|| Status::not_found("", plural, name))?;
        let wanted = reference["uid"].as_str().unwrap_or_default();
        if !wanted.is_empty() && *wanted != *stored.meta.uid {
            let why = format!(
                "the UID in the bound object reference ({wanted}) does not match the UID in record. \
                 The object might have been deleted and then recreated"
            );
            return Err(Status::conflict("", plural, name, &why));
        }
        Ok((field, stored.meta.uid.to_string()))
    }

    /// Whose token this is, if it is one of ours for these audiences and its account, and what it
    /// is bound to, are still there.
    pub(crate) fn user_of_token(&self, token: &str, audiences: &[String]) -> Option<User> {
        let claims = self.tokens.check(token, answer::now(), audiences)?;
        let about = &claims["kubernetes.io"];
        let namespace = about["namespace"].as_str()?;
        let is_there = |resource: &str, namespace: &str, claim: &Value| {
            let key = Key::new(
                &resource.into(),
                namespace,
                claim["name"].as_str().unwrap_or_default(),
            );
            let stored = self.store.get(&key)?;
            (claim["uid"].as_str()? == &*stored.meta.uid).then_some(())
        };
        let account = &about["serviceaccount"];
        is_there(STORAGE, namespace, account)?;
        for (field, resource, within) in [
            ("pod", "/pods", namespace),
            ("secret", "/secrets", namespace),
            ("node", "/nodes", ""),
        ] {
            if about[field].is_object() {
                is_there(resource, within, &about[field])?;
            }
        }
        let mut user = User::of_account(
            namespace,
            account["name"].as_str()?,
            account["uid"].as_str()?,
        );
        let id = claims["jti"].as_str().unwrap_or_default();
        user.extra
            .insert(CREDENTIAL.into(), vec![format!("JTI={id}")]);
        Some(user)
    }
}

fn lifetime(spec: &Value) -> Result<i64, Status> {
    let asked = &spec["expirationSeconds"];
    let seconds = match asked {
        Value::Null => LIFETIME,
        value => value.as_i64().ok_or_else(|| {
            Status::bad_request("TokenRequest.spec.expirationSeconds must be an integer")
        })?,
    };
    let why = match seconds {
        seconds if seconds < SHORTEST => "may not specify a duration less than 10 minutes",
        seconds if seconds > LONGEST => "may not specify a duration larger than 2^32 seconds",
        seconds => return Ok(seconds),
    };
    let error = FieldError::invalid("spec.expirationSeconds", asked, why);
    Err(Status::invalid(
        "authentication.k8s.io",
        "TokenRequest",
        "",
        vec![error],
    ))
}
