//! Names that objects carry: groups, labels, annotations, finalizers, field managers.

/// Group of the workload kinds.
pub const RUNTIME_GROUP: &str = "runtime.wasmcloud.dev";
/// Group of HTTPTrigger.
pub const CONTROL_GROUP: &str = "control.cosmonic.io";
/// Group of HostGroup.
pub const HOST_GROUP_GROUP: &str = "k8s.cosmonic.io";
/// The version of every kind.
pub const VERSION: &str = "v1alpha1";

/// Label with the name of the WorkloadDeployment, on its WorkloadReplicaSets, Workloads and Pods.
pub const LABEL_WORKLOAD_DEPLOYMENT: &str = "runtime.wasmcloud.dev/workload-deployment";
/// Label of a Host: the group it belongs to.
pub const LABEL_HOSTGROUP: &str = "hostgroup";
/// Label of a host's Pod: the group it belongs to. A Pod that has it is taken for a host.
pub const LABEL_POD_HOSTGROUP: &str = "wasmcloud.com/hostgroup";
/// Label of a host's Pod: what it is, with the value [`POD_NAME_HOSTGROUP`].
pub const LABEL_POD_NAME: &str = "wasmcloud.com/name";
/// Value of [`LABEL_POD_NAME`] on a host's Pod.
pub const POD_NAME_HOSTGROUP: &str = "hostgroup";
/// Label of an EndpointSlice that routes to workloads, with the value `true`.
pub const LABEL_ROUTE_MANAGER: &str = "wasmcloud.dev/route-manager";

/// Annotation of a Workload: hash of the template it was made from.
pub const ANNOTATION_TEMPLATE_HASH: &str = "runtime.wasmcloud.dev/workload-replica-set-generation";
/// Annotation that kubectl sets on a template to restart what it describes.
pub const ANNOTATION_RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Annotation on a template (ours): digest of the local files its images name, so that changed
/// bytes under the same path are a changed template.
pub const ANNOTATION_CONTENT_DIGEST: &str = "waft.dev/content-digest";
/// Annotation (ours): the manifest an object was read from by `waft up`.
pub const ANNOTATION_MANIFEST: &str = "waft.dev/manifest";

/// Finalizer of an Artifact: it is still referenced.
pub const FINALIZER_ARTIFACT: &str = "runtime.wasmcloud.dev/artifact-finalizer";
/// Finalizer of a Host: workloads are still placed on it.
pub const FINALIZER_HOST: &str = "runtime.wasmcloud.dev/host-finalizer";
/// Finalizer of a Workload: a host may still run it.
pub const FINALIZER_WORKLOAD: &str = "runtime.wasmcloud.dev/workload-finalizer";
/// Finalizer of a host's Pod.
pub const FINALIZER_HOST_POD: &str = "runtime.wasmcloud.dev/pod-host-finalizer";

/// Field manager of the operator.
pub const MANAGER_OPERATOR: &str = "waft-operator";
/// Field manager of `waft up` for the manifests it applies.
pub const MANAGER_UP: &str = "waft-up";
/// Field manager of the Pods and Nodes that one machine shows.
pub const MANAGER_PROJECTION: &str = "waft-projection";

/// Host interface package that carries routes.
pub const WASI_HTTP: (&str, &str) = ("wasi", "http");
/// Key of a `wasi:http` entry's config: the host name it is reached under.
pub const CONFIG_HOST: &str = "host";
/// Key of a `wasi:http` entry's config: more names, separated by commas.
pub const CONFIG_HOST_ALIASES: &str = "host-aliases";
/// Key of a `wasi:http` entry's config: a listen address. Accepted, not listened on.
pub const CONFIG_ADDRESS: &str = "address";
/// How an image refers to an Artifact: `artifact://NAME`.
pub const ARTIFACT_SCHEME: &str = "artifact://";

/// `imagePullPolicy`: resolve the tag at each start.
pub const PULL_ALWAYS: &str = "Always";
/// `imagePullPolicy`: use the cache when it has the image.
pub const PULL_IF_NOT_PRESENT: &str = "IfNotPresent";
/// `imagePullPolicy`: use the cache or fail.
pub const PULL_NEVER: &str = "Never";

/// `deployPolicy`: the new set is ready before the old goes.
pub const ROLLING_UPDATE: &str = "RollingUpdate";
/// `deployPolicy`: the old set is gone before the new comes.
pub const RECREATE: &str = "Recreate";
