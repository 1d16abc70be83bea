//! Requests in, answers out: the `tower::Service`, and who does what.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderName, Request, Response};
use http_body_util::{BodyExt, Limited};
use waft_apimachinery::decode::Target;
use waft_apimachinery::registry::Resource;
use waft_apimachinery::request::{self, Action, Head, Info, Part, ResourceRequest};
use waft_apimachinery::status::Status;
use waft_apimachinery::{discovery, openapi, request::Request as Asked};

use crate::admission::Subject;
use crate::answer;
use crate::identity::User;
use crate::open::ApiServer;

/// The body of answers, and what requests' bodies are turned into.
pub type Body = axum::body::Body;

/// Of a body that nobody reads so much is taken off its connection, bytes.
const DRAINED: usize = 64 << 10;

/// How long that may take.
const DRAINING: Duration = Duration::from_secs(1);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Answers requests in this process. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    server: Arc<ApiServer>,
}

impl Service {
    pub(crate) fn new(server: Arc<ApiServer>) -> Service {
        Service { server }
    }
}

impl<B> tower::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.server.clone();
        let (parts, body) = request.into_parts();
        let body = Body::new(body);
        Box::pin(async move { Ok(server.answer(parts, body).await) })
    }
}

/// What accompanies a request through the server.
pub(crate) struct Text {
    /// Who asks.
    pub(crate) user: Arc<User>,
    /// Came from outside this process.
    pub(crate) remote: bool,
    /// The server's own doing, about which no stored configuration is asked.
    pub(crate) own: bool,
    /// Who writes, when no field manager is named.
    pub(crate) agent: String,
    /// For the client's eyes.
    pub(crate) warnings: Vec<String>,
}

impl Text {
    pub(crate) fn internal() -> Text {
        Text {
            user: User::internal(),
            remote: false,
            own: true,
            agent: "waft".into(),
            warnings: Vec::new(),
        }
    }
}

impl ApiServer {
    async fn answer(self: &Arc<Self>, parts: Parts, body: Body) -> Response<Body> {
        let user = parts.extensions.get::<Arc<User>>().cloned();
        let mut text = Text {
            remote: user.is_some(),
            own: false,
            // What comes without a user comes from this process.
            user: user.unwrap_or_else(User::internal),
            agent: agent(&parts),
            warnings: Vec::new(),
        };
        let mut response = match self.dispatch(parts, body, &mut text).await {
            Ok(response) => response,
            Err(status) => answer::status(&status),
        };
        answer::warn(&mut response, &text.warnings);
        response
    }

    /// What is asked, if whoever asks may.
    fn understand(&self, parts: &Parts, text: &mut Text) -> Result<Asked, Status> {
        if self.closing.is_cancelled() {
            return Err(Status::service_unavailable("the server is shutting down"));
        }
        if let Some(other) = self.impersonated(&text.user, &parts.headers)? {
            text.user = Arc::new(other);
        }
        let query = parts.uri.query().unwrap_or_default();
        let info = Info::read(parts.method.as_str(), parts.uri.path(), query);
        self.authorize(&text.user, &info)?;
        if opens_stream(&info) {
            // Whoever reads pods must not thereby get into them.
            let create = Info {
                verb: "create".into(),
                ..info
            };
            let decision = self.decide(&text.user, &create);
            if !decision.allowed {
                let (pods, pod) = (&create.resource, &create.name);
                return Err(Status::forbidden("", pods, pod, &decision.reason));
            }
        }
        let registry = self.registry();
        let head = Head {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query,
            accept: header(parts, &ACCEPT),
            content_type: header(parts, &CONTENT_TYPE),
        };
        request::parse(&head, &registry)
    }

    async fn dispatch(
        self: &Arc<Self>,
        parts: Parts,
        body: Body,
        text: &mut Text,
    ) -> Result<Response<Body>, Status> {
        let asked = self.understand(&parts, text);
        let body = match &asked {
            Ok(Asked::Resource(_)) => body,
            // Nobody will read it; a connection with a body half sent could not be used again.
            _ => {
                drain(body).await;
                Body::empty()
            }
        };
        let registry = self.registry();
        let found = |value: Option<serde_json::Value>| value.ok_or_else(Status::unknown_resource);
        match asked? {
            Asked::Missing => Ok(answer::plain(404, "404 page not found\n")),
            Asked::Version => Ok(answer::json(200, &answer::version())),
            Asked::Health { .. } => Ok(answer::plain(200, "ok")),
            Asked::Paths => Ok(answer::json(200, &answer::paths(&registry))),
            Asked::Discovery {
                core,
                aggregated: true,
            } => Ok(answer::typed(
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                &discovery::aggregated(&registry, core),
            )),
            Asked::Discovery { core: true, .. } => {
                Ok(answer::json(200, &discovery::core_versions()))
            }
            Asked::Discovery { core: false, .. } => {
                Ok(answer::json(200, &discovery::groups(&registry)))
            }
            Asked::Group(name) => Ok(answer::json(
                200,
                &found(discovery::group(&registry, &name))?,
            )),
            Asked::Resources(of) => Ok(answer::json(
                200,
                &found(discovery::resources(&registry, &of.group, &of.version))?,
            )),
            Asked::OpenApiOld { protobuf: true } => Ok(answer::bytes(
                200,
                "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
                Bytes::from_static(openapi::old_document_protobuf()),
            )),
            Asked::OpenApiOld { protobuf: false } => {
                Ok(answer::json(200, &openapi::old_document()))
            }
            Asked::OpenApiIndex => Ok(answer::json(200, &openapi::index(&registry))),
            Asked::OpenApi(of) => Ok(match openapi::document(&registry, &of) {
                Some(document) => answer::json(200, &document),
                None => answer::plain(404, ""),
            }),
            Asked::Resource(request) => self.resource(*request, parts, body, text).await,
        }
    }

    async fn resource(
        self: &Arc<Self>,
        request: ResourceRequest,
        parts: Parts,
        body: Body,
        text: &mut Text,
    ) -> Result<Response<Body>, Status> {
        text.warnings.extend(request.resource.deprecation.clone());
        let ResourceRequest {
            resource,
            namespace,
            name,
            action,
            output,
        } = request;
        let namespace = namespace.as_deref();
        let name = name.unwrap_or_default();
        let one = |value, code| answer::object(&resource, &value, &output, code);
        match action {
            Action::Get(Part::Scale) => {
                let object = self.get_value(&resource, namespace, &name)?;
                let scale = crate::scale::read(&object, &resource)?;
                Ok(crate::scale::answer(&scale, &resource, &output))
            }
            Action::Get(_) => self.get(&resource, namespace, &name, &output),
            Action::List(options) => self.list(&resource, namespace, &options, &output).await,
            Action::Watch(mut options) => {
                if !name.is_empty() {
                    let only = format!("metadata.name={name}");
                    options.fields = waft_apimachinery::selector::FieldSelector::parse(&only)
                        .map_err(|error| Status::bad_request(error.to_string()))?;
                }
                let place = self.watch_place(text.remote)?;
                self.watch(&resource, namespace, options, output, place)
                    .await
            }
            Action::Create(options, format) => {
                let body = self
                    .read_object(body, format, &Target::of(&resource))
                    .await?;
                if resource.review {
                    let subject = Subject::creation(&resource, "", None, namespace, "", &options);
                    let value = self.admit_body(subject, body.value, text).await?;
                    let answer = self.review(&resource, namespace, value, &options, text)?;
                    return Ok(answer::json(201, &answer));
                }
                let value = self
                    .create(&resource, namespace, body, &options, text)
                    .await?;
                one(value, 201)
            }
            Action::Update(part, options, format) => {
                let body = self
                    .read_object(body, format, &target(&resource, part.as_str()))
                    .await?;
                let (value, created) = self
                    .update(&resource, namespace, &name, part, body, &options, text)
                    .await?;
                match part {
                    Part::Scale => Ok(crate::scale::answer(&value, &resource, &output)),
                    _ => one(value, if created { 201 } else { 200 }),
                }
            }
            Action::Patch(part, kind, options) => {
                let body = self.read_bytes(body).await?;
                let (value, created) = self
                    .patch(
                        &resource, namespace, &name, part, kind, &body, &options, text,
                    )
                    .await?;
                match part {
                    Part::Scale => Ok(crate::scale::answer(&value, &resource, &output)),
                    _ => one(value, if created { 201 } else { 200 }),
                }
            }
            Action::Delete(mut options, format) => {
                self.read_delete_options(body, format, &mut options).await?;
                let (value, gone) = self
                    .delete(&resource, namespace, &name, &options, text)
                    .await?;
                if gone && !resource.rules.returns_deleted {
                    return Ok(answer::json(200, &answer::deleted(&resource, &value)));
                }
                one(value, 200)
            }
            Action::DeleteCollection(list, mut options, format) => {
                self.read_delete_options(body, format, &mut options).await?;
                self.delete_collection(&resource, namespace, &list, &options, text)
                    .await
            }
            Action::Token(options, format) => {
                let body = self
                    .read_object(body, format, &target(&resource, "token"))
                    .await?;
                let kind = Some(("authentication.k8s.io", "v1", "TokenRequest"));
                let subject =
                    Subject::creation(&resource, "token", kind, namespace, &name, &options);
                let body = self.admit_body(subject, body.value, text).await?;
                let namespace = namespace.unwrap_or_default();
                let token = self.issue_token(namespace, &name, body, &options, text)?;
                Ok(answer::json(201, &token))
            }
            Action::Evict(options, format) => {
                let body = self
                    .read_object(body, format, &target(&resource, "eviction"))
                    .await?;
                let kind = Some(("policy", "v1", "Eviction"));
                let subject =
                    Subject::creation(&resource, "eviction", kind, namespace, &name, &options);
                let body = self.admit_body(subject, body.value, text).await?;
                let namespace = namespace.unwrap_or_default();
                let done = self.evict(namespace, &name, &body, &options, text).await?;
                Ok(answer::json(201, &done))
            }
            Action::Logs(options) => {
                self.get_value(&resource, namespace, &name)?;
                let lines = self
                    .connect
                    .logs(namespace.unwrap_or_default(), &name, options)
                    .await?;
                Ok(answer::stream(lines, self.closing.clone()))
            }
            Action::PortForward { ports } => {
                self.get_value(&resource, namespace, &name)?;
                let subject = Subject::connection(&resource, "portforward", namespace, &name);
                let body = serde_json::json!({"kind": "PodPortForwardOptions", "apiVersion": "v1", "ports": ports});
                self.admit_body(subject, body, text).await?;
                self.forward(namespace.unwrap_or_default(), &name, ports, parts)
                    .await
            }
            Action::Exec => {
                self.get_value(&resource, namespace, &name)?;
                Err(Status::bad_request(format!(
                    "{name} runs WebAssembly components: a component has no shell and no other programs to execute"
                )))
            }
        }
    }
}

/// What a body sent to a part of an object must be.
fn target<'a>(resource: &'a Resource, part: &str) -> Target<'a> {
    Target::of_part(resource, part).unwrap_or_else(|| Target::of(resource))
}

/// Reads what is left of a small body, for a moment.
async fn drain(body: Body) {
    let rest = Limited::new(body, DRAINED).collect();
    // What fails here fails again when the connection is used.
    let _ = tokio::time::timeout(DRAINING, rest).await;
}

fn header<'a>(parts: &'a Parts, name: &HeaderName) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

/// Whether a request that only says `get` opens a stream into a pod.
fn opens_stream(info: &Info) -> bool {
    info.verb == "get"
        && info.group.is_empty()
        && info.resource == "pods"
        && matches!(&*info.subresource, "exec" | "attach" | "portforward")
}

/// The program's name: the user agent up to its first slash.
fn agent(parts: &Parts) -> String {
    let agent = header(parts, &USER_AGENT).unwrap_or("unknown");
    agent
        .split('/')
        .next()
        .unwrap_or(agent)
        .chars()
        .take(128)
        .collect()
}
