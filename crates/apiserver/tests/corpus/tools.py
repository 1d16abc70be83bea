"""More scenarios: what users' tools and controllers send (kubectl apply, Helm, Flux, Argo CD, cert-manager, Gateway API)."""
from scenarios import *

FIRST = 501  # these scenarios are numbered from here, so that others can be added to the first file
scenarios = []


def scenario(clause, *steps):
    scenarios.append({"clause": clause, "steps": [step for step in steps]})


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses"
BUDGETS = "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets"
SCALERS = "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers"
EVENTS, NEWS = "/api/v1/namespaces/{ns}/events", "/apis/events.k8s.io/v1/namespaces/{ns}/events"
CLAIMS = "/api/v1/namespaces/{ns}/persistentvolumeclaims"


# --- Custom resource definitions, from their creation to their end.
def definition(plural, group, schema, scope="Namespaced", **version):
    kind = plural[:-1].capitalize()
    return obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.{group}", {"spec": {
        "group": group, "scope": scope, "names": {"plural": plural, "kind": kind},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}]}})


open_schema = {"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
gizmo = definition("gizmos", "d{id}.example.com", open_schema)
gizmos = "/apis/d{id}.example.com/v1/namespaces/{ns}/gizmos"
one = lambda name, spec=None, version="v1", **meta: obj(f"d{{id}}.example.com/{version}", "Gizmo", name, {"spec": spec or {}}, **meta)
later = {**gizmo, "spec": {**gizmo["spec"], "versions": [
    {"name": "v1", "served": True, "storage": False, "schema": {"openAPIV3Schema": open_schema}},
    {"name": "v2", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 7}}}}}},
     "subresources": {"status": {}}, "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]}]}}
scenario("custom resource definitions", post(CRDS, gizmo), get(gizmos, until=200), post(CRDS, gizmo), post(gizmos, one("a", {"size": 1, "x": "y"})), get(CRDS + "/gizmos.d{id}.example.com/status"),
         apply(CRDS + "/gizmos.d{id}.example.com", later, "helm", force=True), get(gizmos.replace("/v1/", "/v2/"), until=200), get(gizmos.replace("/v1/", "/v2/") + "/a"), post(gizmos.replace("/v1/", "/v2/"), one("b", {}, "v2")),
         get(gizmos + "/b"), get(gizmos.replace("/v1/", "/v2/") + "/b", accept=TABLE), merge(gizmos.replace("/v1/", "/v2/") + "/b/status", {"status": {"x": 1}}),
         post(gizmos, one("held", finalizers=["x.io/hold"])), delete(CRDS + "/gizmos.d{id}.example.com"), get(gizmos + "/a", until=404), merge(gizmos + "/held", {"metadata": {"finalizers": None}}), get(CRDS + "/gizmos.d{id}.example.com", until=404))
no_schema = definition("wrongs", "e{id}.example.com", open_schema)
def wrong(**spec): return {**no_schema, "spec": {**no_schema["spec"], **spec}}
def version(**rest): return [{**no_schema["spec"]["versions"][0], **rest}]
def schema(**properties): return version(schema={"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}})
scenario("custom resource definitions", *[post(CRDS + "?dryRun=All", body) for body in [
    wrong(group="other.example.com"), wrong(scope="Everywhere"), wrong(names={"plural": "wrongs", "kind": ""}), wrong(names={"plural": "Wrongs", "kind": "Wrong"}), wrong(versions=[]),
    wrong(versions=version(storage=False)), wrong(versions=version() + version(name="v2")), wrong(versions=version(schema=None)), wrong(versions=version(name="V1")), wrong(preserveUnknownFields=True),
    wrong(conversion={"strategy": "Webhook"}), wrong(versions=schema(a={"type": "string", "default": 5})), wrong(versions=schema(a={"type": "array"})), wrong(versions=schema(a={"type": "object", "properties": {"b": {}}})),
    wrong(versions=schema(a={"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object", "properties": {"k": {"type": "string"}}}})),
    wrong(versions=schema(a={"type": "string", "x-kubernetes-validations": [{"rule": "self.size("}]})), wrong(versions=schema(a={"type": "string", "x-kubernetes-validations": [{"rule": "self > 3"}]})),
    wrong(versions=schema(a={"type": "string", "enum": ["a"], "default": "b"})), wrong(versions=version(additionalPrinterColumns=[{"name": "a", "type": "text", "jsonPath": "b"}])),
    wrong(versions=version(subresources={"scale": {"specReplicasPath": "spec", "statusReplicasPath": ".status.x"}})), wrong(versions=version(selectableFields=[{"jsonPath": ".spec.none"}])),
    wrong(names={"plural": "wrongs", "kind": "Wrong", "shortNames": ["W"]}), no_schema]])

# --- Lists, maps and defaults of a schema as the Gateway API and cert-manager have them.
listed = {"type": "object", "properties": {"spec": {"type": "object", "properties": {
    "listeners": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "port"], "items": {
        "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "port": {"type": "integer", "default": 80}, "protocol": {"type": "string", "default": "HTTP"},
                                             "tls": {"type": "object", "default": {}, "properties": {"mode": {"type": "string", "default": "Terminate"}, "refs": {"type": "array", "items": {"type": "object", "properties": {"kind": {"type": "string", "default": "Secret"}, "name": {"type": "string"}}}}}}}}},
    "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    "atomic": {"type": "array", "x-kubernetes-list-type": "atomic", "items": {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}}},
    "port": {"x-kubernetes-int-or-string": True, "default": "http"}, "anyPort": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
    "template": {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
    "selector": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}}},
    "config": {"x-kubernetes-preserve-unknown-fields": True}, "mode": {"type": "string", "enum": ["A", "B"]},
    "nested": {"type": "object", "additionalProperties": {"type": "object", "properties": {"on": {"type": "boolean", "default": True}}}}},
    "x-kubernetes-validations": [{"rule": "!has(self.mode) || self.mode != 'B' || has(self.hosts)", "message": "mode B needs hosts"},
                                 {"rule": "has(oldSelf.mode) == has(self.mode)", "message": "mode cannot come or go", "optionalOldSelf": False}]},
    "status": {"type": "object", "properties": {"conditions": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"], "items": {"type": "object", "required": ["type", "status"], "properties": {
        "type": {"type": "string"}, "status": {"type": "string", "enum": ["True", "False", "Unknown"]}, "reason": {"type": "string"}, "message": {"type": "string"}, "observedGeneration": {"type": "integer", "format": "int64"}, "lastTransitionTime": {"type": "string", "format": "date-time"}}}},
        "addresses": {"type": "array", "items": {"type": "string"}}}}}}
gate_definition = definition("gates", "g{id}.example.com", listed, subresources={"status": {}})
gates = "/apis/g{id}.example.com/v1/namespaces/{ns}/gates"
def gate(spec=None, name="a", **rest): return {**obj("g{id}.example.com/v1", "Gate", name, {"spec": spec or {}}), **rest}
def condition(kind, status="True", **rest): return {"type": kind, "status": status, "reason": "R", "message": "m", "lastTransitionTime": "2026-01-02T03:04:05Z", **rest}
def gate_status(*conditions, **rest): return {**obj("g{id}.example.com/v1", "Gate", "a"), "status": {"conditions": list(conditions), **rest}}
scenario("server-side apply of lists", post(CRDS, gate_definition), get(gates, until=200),
         apply(gates + "/a", gate({"listeners": [{"name": "x"}, {"name": "y", "port": 443}], "hosts": ["a", "b"]})),
         apply(gates + "/a", gate({"listeners": [{"name": "x", "port": 8080}, {"name": "x", "port": 80, "protocol": "TCP"}], "hosts": ["b", "c"]}), "two"),
         apply(gates + "/a", gate({"listeners": [{"name": "x", "port": 8080}, {"name": "x", "port": 80, "protocol": "TCP"}], "hosts": ["b", "c"]}), "two", True),
         apply(gates + "/a", gate({"listeners": [{"name": "y", "port": 443, "tls": {"refs": [{"name": "s"}]}}], "hosts": ["a"]})), get(gates + "/a"),
         apply(gates + "/a", gate({"listeners": [{"name": "x"}, {"name": "x"}]}), "three"), apply(gates + "/a", gate({"hosts": ["d", "d"]}), "three"), apply(gates + "/a", gate({"listeners": [{"port": 1}]}), "three"),
         apply(gates + "/a", gate({"atomic": [{"name": "p", "n": 1}, {"name": "p", "n": 1}]})), apply(gates + "/a", gate({"atomic": [{"name": "p", "n": 2}]}), "two"), apply(gates + "/a", gate({"atomic": [{"name": "p", "n": 1}, {"name": "p", "n": 1}]}), "four"),
         apply(gates + "/a", gate({"selector": {"matchLabels": {"a": "b"}}}), "sel"), apply(gates + "/a", gate({"selector": {"matchLabels": {"c": "d"}}}), "other"), apply(gates + "/a", gate({"selector": {"matchLabels": {"c": "d"}}}), "sel"),
         apply(gates + "/a", gate({"config": {"any": [1, {"x": None}], "y": {"z": 1}}}), "conf"), apply(gates + "/a", gate({"config": {"y": {"z": 2}}}), "conf2"), apply(gates + "/a", gate({"nested": {"k": {}}}), "nest"), apply(gates + "/a", gate({"nested": {"l": {"on": False}}}), "nest"),
         apply(gates + "/a/status", gate_status(condition("Ready"), condition("Accepted", "False"), addresses=["1"]), "ctl"), apply(gates + "/a/status", gate_status(condition("Programmed")), "ctl2"), apply(gates + "/a/status", gate_status(condition("Ready", "False")), "ctl2"),
         apply(gates + "/a/status", gate_status(condition("Ready", "False")), "ctl2", True), apply(gates + "/a/status", gate_status(condition("Accepted")), "ctl"), apply(gates + "/a/status", gate_status({"type": "Bad"}), "ctl"), merge(gates + "/a/status?fieldManager=old", {"status": {"conditions": [condition("Only")]}}),
         apply(gates + "/a", gate({"mode": "A"}), "mode"), get(gates + "/a"))
scenario("pruning and defaulting", post(CRDS, gate_definition), get(gates, until=200), *[post(gates, gate(spec, f"p{i}")) for i, spec in enumerate([
    {"listeners": [{"name": "x"}, {"name": "y", "port": None, "tls": None}]}, {"listeners": [{"name": "x", "tls": {"refs": [{"name": "s", "zone": 1}]}}]}, {"port": 80}, {"port": "80", "anyPort": 5}, {"port": True}, {"port": 1.5},
    {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "n", "unknown": 1}, "spec": {"free": True}}}, {"template": {"kind": "Pod"}}, {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": 1}}}},
    {"nested": {"a": {}, "b": None, "c": {"on": False}}}, {"hosts": None, "atomic": []}, {"config": None}, {"listeners": {}}, {"mode": "C"}, {"mode": "B"}, {"listeners": [{"name": "x"}, {"name": "x", "port": 80}]}])],
    jsonp(gates + "/p0", [{"op": "test", "path": "/spec/listeners/0/name", "value": "x"}, {"op": "add", "path": "/spec/listeners/-", "value": {"name": "z"}}]), merge(gates + "/p0", {"spec": {"listeners": [{"name": "q"}]}}), merge(gates + "/p0", {"spec": {"mode": "A"}}),
    put(gates + "/p0", gate({"listeners": [{"name": "x"}]}, "p0")), get(gates + "?limit=2"), get(gates + "/p1", accept=TABLE))

# --- What controllers do all day.
lease = lambda holder, **rest: obj("coordination.k8s.io/v1", "Lease", "leader", {"spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "acquireTime": "2026-01-02T03:04:05.000000Z", "renewTime": "2026-01-02T03:04:05.000000Z", "leaseTransitions": 0}}, **rest)
scenario("controllers", get(LEASES + "/leader"), post(LEASES, lease("one"), save="l"), post(LEASES, lease("two")), put(LEASES + "/leader", lease("one", resourceVersion="{l.resourceVersion}"), save="m"),
         put(LEASES + "/leader", lease("two", resourceVersion="{l.resourceVersion}")), apply(LEASES + "/leader", lease("three"), "three"), apply(LEASES + "/leader", lease("three"), "three", True),
         merge(LEASES + "/leader", {"spec": {"renewTime": "2026-01-02T03:04:06Z"}}), merge(LEASES + "/leader", {"spec": {"renewTime": "soon"}}), merge(LEASES + "/leader", {"spec": {"leaseDurationSeconds": 0}}),
         jsonp(LEASES + "/leader", [{"op": "test", "path": "/spec/holderIdentity", "value": "nobody"}, {"op": "replace", "path": "/spec/holderIdentity", "value": "me"}]), delete(LEASES + "/leader", {"preconditions": {"resourceVersion": "{m.resourceVersion}"}}))
event = lambda name, **rest: obj("v1", "Event", name, {"involvedObject": {"kind": "ConfigMap", "namespace": "{ns}", "name": "a", "apiVersion": "v1"}, "reason": "Tested", "message": "it was", "type": "Normal", "count": 1, "firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": "2026-01-02T03:04:05Z", "source": {"component": "corpus"}, **rest})
news = lambda name, **rest: obj("events.k8s.io/v1", "Event", name, {"regarding": {"kind": "ConfigMap", "namespace": "{ns}", "name": "a", "apiVersion": "v1"}, "reason": "Tested", "note": "it was", "type": "Normal", "eventTime": "2026-01-02T03:04:05.000001Z", "reportingController": "corpus.io/x", "reportingInstance": "x-1", "action": "Testing", **rest})
scenario("controllers", post(EVENTS, event("a.1")), smp(EVENTS + "/a.1", {"count": 2, "lastTimestamp": "2026-01-02T03:05:05Z"}), post(EVENTS, event("a.2", involvedObject={"kind": "ConfigMap", "namespace": "elsewhere", "name": "a"})), post(NEWS, news("b.1")),
         smp(NEWS + "/b.1", {"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000000Z"}}), get(EVENTS + "/b.1"), get(NEWS + "/a.1"), get(EVENTS + "?fieldSelector=involvedObject.name%3Da,reason%3DTested,type!%3DWarning"),
         get(NEWS + "?fieldSelector=regarding.kind%3DConfigMap"), post(NEWS, {**news("b.2"), "reportingController": ""}), post(NEWS, {**news("b.3"), "action": ""}), post(NEWS, news("b.4", type="Strange")), post(EVENTS, event("a.3", type="Strange")), post(NEWS, {key: value for key, value in news("b.5").items() if key != "eventTime"}))
scenario("controllers", post(THINGS, thing("a", {"size": 1})), jsonp(THINGS + "/a", [{"op": "test", "path": "/metadata/finalizers", "value": None}, {"op": "add", "path": "/metadata/finalizers", "value": ["corpus.example.com/finalizer"]}]),
         jsonp(THINGS + "/a", [{"op": "test", "path": "/metadata/finalizers", "value": None}, {"op": "add", "path": "/metadata/finalizers", "value": []}]), merge(THINGS + "/a/status", {"status": {"phase": "Up", "conditions": [condition("Ready")]}}),
         apply(THINGS + "/a/status", {**thing("a"), "status": {"conditions": [{"type": "Synced", "status": "True"}]}}, "ctl"), apply(THINGS + "/a", thing("a", finalizers=["other.io/f"]), "fin"), apply(THINGS + "/a", thing("a", labels={"app": "x"}, annotations={"n": "1"}), "meta"),
         apply(THINGS + "/a", thing("a", labels={"app": "y"}), "meta2"), apply(THINGS + "/a", thing("a"), "meta"), delete(THINGS + "/a"), merge(THINGS + "/a/status", {"status": {"phase": "Down"}}), jsonp(THINGS + "/a", [{"op": "remove", "path": "/metadata/finalizers/0"}]), get(THINGS + "/a"),
         jsonp(THINGS + "/a", [{"op": "remove", "path": "/metadata/finalizers/0"}]), get(THINGS + "/a"))
child = lambda **rest: cm("child", {"k": "v"}, ownerReferences=[{"apiVersion": GROUP + "/v1", "kind": "Thing", "name": "p", "uid": "{p.uid}", "controller": True, "blockOwnerDeletion": True}], **rest)
scenario("controllers", post(THINGS, thing("p", {"size": 1}), save="p"), apply(MAPS + "/child", child(), "ctl", True), apply(MAPS + "/child", child(), "ctl", True), merge(MAPS + "/child?fieldManager=user", {"data": {"k": "w"}}), apply(MAPS + "/child", child(), "ctl"), apply(MAPS + "/child", child(), "ctl", True),
         merge(MAPS + "/child?fieldManager=user", {"data": {"mine": "1"}}), apply(MAPS + "/child", cm("child", {}), "ctl", True), apply(MAPS + "/child", child(labels={"a": "b"}), "ctl"), delete(THINGS + "/p?propagationPolicy=Foreground"), get(MAPS + "/child", until=404), get(THINGS + "/p", until=404))

# --- Helm, and the three-way patches of kubectl apply.
release = lambda n, status: obj("v1", "Secret", f"sh.helm.release.v1.web.v{n}", {"type": "helm.sh/release.v1", "data": {"release": "SDRzSUFBQUFBQUFBLw=="}}, labels={"name": "web", "owner": "helm", "status": status, "version": str(n)})
workload = lambda **rest: {**deployment("web", replicas=0), **rest}
scenario("Helm", get(SECRETS + "?labelSelector=name%3Dweb%2Cowner%3Dhelm"), post(SECRETS, release(1, "pending-install")), post(SERVICES, obj("v1", "Service", "web", {"spec": {"ports": [{"port": 80, "targetPort": "http", "name": "http"}], "clusterIP": "None", "selector": {"app": "web"}}})),
         post(APPS + "deployments?fieldManager=helm", workload()), put(SECRETS + "/sh.helm.release.v1.web.v1", release(1, "deployed")), get(SECRETS + "?labelSelector=owner%3Dhelm%2Cstatus%20notin%20(superseded,uninstalled)"),
         smp(APPS + "deployments/web?fieldManager=helm", {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "c"}], "containers": [{"name": "c", "image": "i:2", "$setElementOrder/env": [{"name": "A"}], "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}]}]}}}}),
         smp(SERVICES + "/web?fieldManager=helm", {"spec": {"$setElementOrder/ports": [{"port": 80}, {"port": 443}], "ports": [{"port": 443, "name": "https", "targetPort": "https"}]}}), merge(SECRETS + "/sh.helm.release.v1.web.v1", {"metadata": {"labels": {"status": "superseded"}}}),
         post(SECRETS, release(2, "deployed")), get(SECRETS + "?labelSelector=owner%3Dhelm%2Cversion%20in%20(1,2)&limit=1"), apply(APPS + "deployments/web", workload(), "helm", True), smp(SECRETS + "/sh.helm.release.v1.web.v2", {"type": "Opaque"}),
         delete(APPS + "deployments/web", {"propagationPolicy": "Background"}), delete(SERVICES + "/web", {"propagationPolicy": "Background"}), delete(SECRETS + "?labelSelector=owner%3Dhelm"))
last = lambda text: {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": text}}}
scenario("kubectl apply", post(APPS + "deployments?fieldManager=kubectl-client-side-apply&fieldValidation=Strict", deployment("a", replicas=0)), *[smp(APPS + "deployments/a?fieldManager=kubectl-client-side-apply&fieldValidation=Strict", {**last(str(i)), **patch}) for i, patch in enumerate([
    {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}, {"spec": {"strategy": {"$retainKeys": ["type", "rollingUpdate"], "type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2}}}},
    {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}], "containers": [{"name": "b", "image": "b:1"}]}}}},
    {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "c"}], "containers": [{"$patch": "delete", "name": "b"}]}}}},
    {"spec": {"template": {"spec": {"$setElementOrder/volumes": [{"name": "v"}], "volumes": [{"name": "v", "configMap": {"name": "m"}}], "$setElementOrder/containers": [{"name": "c"}],
                                  "containers": [{"name": "c", "$setElementOrder/volumeMounts": [{"mountPath": "/v"}], "volumeMounts": [{"mountPath": "/v", "name": "v"}]}]}}}},
    {"spec": {"template": {"spec": {"$setElementOrder/volumes": [{"name": "v"}], "volumes": [{"$retainKeys": ["emptyDir", "name"], "name": "v", "configMap": None, "emptyDir": {}}]}}}},
    {"spec": {"template": {"spec": {"tolerations": [{"key": "a", "operator": "Exists"}], "nodeSelector": {"x": "y"}}}}}, {"spec": {"template": {"spec": {"tolerations": None, "nodeSelector": {"x": None, "z": "w"}}}}},
    {"spec": {"template": {"spec": {"$setElementOrder/imagePullSecrets": [{"name": "s"}], "imagePullSecrets": [{"name": "s"}], "$setElementOrder/hostAliases": [{"ip": "1.2.3.4"}], "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["h"]}]}}}},
    {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"}, "labels": {"v": "2"}}}}}, {"metadata": {"labels": {"gone": None, "$patch": "merge"}}}, {"spec": {"template": {"spec": {"containers": [{"name": "c", "resources": {"$patch": "replace", "limits": {"cpu": "0.1"}}}]}}}},
    {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:4", "wrong": 1}]}}}}, {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "x"}], "containers": [{"name": "c", "image": "i"}]}}}}])],
    apply(APPS + "deployments/a", deployment("a", replicas=1), "kubectl"), apply(APPS + "deployments/a", deployment("a", replicas=1), "argocd-controller"), apply(APPS + "deployments/a", deployment("a", replicas=2), "argocd-controller"), apply(APPS + "deployments/a", deployment("a", replicas=2), "argocd-controller", True), get(APPS + "deployments/a", accept=TABLE))

# --- Selectors: objects that enter and leave.
start = "&resourceVersion={start.resourceVersion}"
scenario("selectors in watches", post(PODS, pod("a", labels={"app": "x"}), save="start"), merge(PODS + "/a/status", {"status": {"phase": "Running"}}), merge(PODS + "/a", {"metadata": {"labels": {"app": "y"}}}), merge(PODS + "/a/status", {"status": {"phase": "Failed"}}), merge(PODS + "/a", {"metadata": {"labels": {"app": "x"}}}), delete(PODS + "/a?gracePeriodSeconds=0"),
         *[get(f"{PODS}?watch=true&timeoutSeconds=1{start}{more}", watch=True, accept=PARTIAL) for more in ["&labelSelector=app%3Dx", "&labelSelector=app!%3Dx", "&labelSelector=app", "&fieldSelector=status.phase%3DRunning", "&fieldSelector=status.phase!%3DFailed", "&fieldSelector=spec.nodeName%3D", "&labelSelector=app%3Dx&fieldSelector=status.phase%3DFailed", "&fieldSelector=metadata.name%3Da", "&fieldSelector=metadata.name%3Db"]])
scenario("selectors in watches", post(THINGS, thing("a", {"color": "red"}), save="start"), merge(THINGS + "/a", {"spec": {"color": "blue"}}), merge(THINGS + "/a/status", {"status": {"phase": "x"}}), merge(THINGS + "/a", {"spec": {"color": "red"}}), delete(THINGS + "/a"),
         *[get(f"{THINGS}?watch=true&timeoutSeconds=1{start}{more}", watch=True, accept=PARTIAL) for more in ["&fieldSelector=spec.color%3Dred", "&fieldSelector=spec.color!%3Dred", "&fieldSelector=spec.color%3Dblue,metadata.name%3Da", "&fieldSelector=spec.size%3D1"]],
         get(f"/apis/{GROUP}/v1/watch/namespaces/{{ns}}/things?timeoutSeconds=1{start}", watch=True, accept=PARTIAL), get(f"{THINGS}/a?watch=true&timeoutSeconds=1{start}", watch=True, accept=PARTIAL))
scenario("field selectors", post(PODS, pod("a")), post(SECRETS, obj("v1", "Secret", "s", {"type": "x.io/y"})), post(SECRETS, obj("v1", "Secret", "t")), post(SERVICES, obj("v1", "Service", "h", {"spec": {"clusterIP": "None", "ports": [{"port": 1}]}})), post(BATCH + "jobs", obj("batch/v1", "Job", "j", {"spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}})),
         *[get(f"{base}?fieldSelector={selector}", accept=PARTIALS) for base, selector in [(PODS, "status.phase%3DPending"), (PODS, "spec.restartPolicy%3DAlways,status.phase!%3DRunning"), (PODS, "spec.hostNetwork%3Dfalse"), (PODS, "spec.serviceAccountName%3D"), (PODS, "spec.none%3D1"), (PODS, "status.podIP%3D"), (SECRETS, "type%3Dx.io/y"), (SECRETS, "type!%3Dx.io/y"), (SECRETS, "data%3D1"),
             (SERVICES, "spec.clusterIP%3DNone"), (SERVICES, "spec.type%3DClusterIP"), (BATCH + "jobs", "status.successful%3D0"), (BATCH + "jobs", "spec.suspend%3Dtrue"), (MAPS, "metadata.namespace%3D{ns},metadata.name!%3Dkube-root-ca.crt"), (APPS + "deployments", "spec.replicas%3D1"), (APPS + "replicasets", "status.replicas%3D0"), ("/api/v1/namespaces", "metadata.name%3D{ns}"), ("/api/v1/pods", "metadata.namespace%3D{ns}")]])

# --- What built-in kinds refuse.
POD = {"containers": [{"name": "c", "image": "i"}], "automountServiceAccountToken": False}
def bad_pod(**spec): return obj("v1", "Pod", "p", {"spec": {**POD, **spec}})
def container(**rest): return bad_pod(containers=[{"name": "c", "image": "i", **rest}])
scenario("validation of pods", *[post(PODS + "?dryRun=All", body) for body in [
    bad_pod(containers=[]), bad_pod(containers=[{"name": "C_1", "image": "i"}]), bad_pod(containers=[{"image": "i"}]), bad_pod(containers=[{"name": "c"}]), bad_pod(containers=[{"name": "c", "image": "i"}, {"name": "c", "image": "j"}]), container(ports=[{"containerPort": 0}]), container(ports=[{"containerPort": 70000}]),
    container(ports=[{"containerPort": 80, "protocol": "HTTP"}]), container(ports=[{"containerPort": 80, "name": "UPPER"}]), container(env=[{"value": "x"}]), container(env=[{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]), container(volumeMounts=[{"name": "v", "mountPath": "/v"}]), container(volumeMounts=[{"name": "v"}]),
    container(imagePullPolicy="Sometimes"), container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}), container(resources={"limits": {"cpu": "-1"}}), container(resources={"limits": {"cpu": "x"}}), container(livenessProbe={}), container(livenessProbe={"httpGet": {"port": 0}}), container(readinessProbe={"tcpSocket": {"port": 1}, "periodSeconds": -1}),
    bad_pod(restartPolicy="Never Ever"), bad_pod(dnsPolicy="Some"), bad_pod(volumes=[{"name": "V"}]), bad_pod(volumes=[{"name": "v"}, {"name": "v"}]), bad_pod(volumes=[{"name": "v", "configMap": {}}]), bad_pod(volumes=[{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]), bad_pod(terminationGracePeriodSeconds=-1), bad_pod(activeDeadlineSeconds=0), bad_pod(nodeSelector={"a b": "c"}),
    bad_pod(tolerations=[{"key": "a", "operator": "Like"}]), bad_pod(serviceAccountName="Bad_Name"), bad_pod(initContainers=[{"name": "c", "image": "i"}]), bad_pod(hostname="a.b"), bad_pod(imagePullSecrets=[{"name": ""}])]])
def workload_of(kind, **spec): return obj("apps/v1", kind, "w", {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template, **spec}})
scenario("validation of workloads", *[post(APPS + plural + "?dryRun=All", body) for plural, body in [
    ("deployments", workload_of("Deployment", selector=None)), ("deployments", workload_of("Deployment", selector={})), ("deployments", workload_of("Deployment", selector={"matchLabels": {"app": "y"}})), ("deployments", workload_of("Deployment", replicas=-1)),
    ("deployments", workload_of("Deployment", template={**template, "spec": {**template["spec"], "restartPolicy": "Never"}})), ("deployments", workload_of("Deployment", strategy={"type": "Slow"})), ("deployments", workload_of("Deployment", strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}})), ("deployments", workload_of("Deployment", strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}})),
    ("deployments", workload_of("Deployment", strategy={"rollingUpdate": {"maxSurge": "x%"}})), ("deployments", workload_of("Deployment", selector={"matchExpressions": [{"key": "app", "operator": "Like"}]})), ("deployments", workload_of("Deployment", progressDeadlineSeconds=0)), ("deployments", workload_of("Deployment", revisionHistoryLimit=-1)),
    ("replicasets", workload_of("ReplicaSet", selector={"matchLabels": {"app": "y"}})), ("replicasets", workload_of("ReplicaSet", replicas=-1)), ("statefulsets", workload_of("StatefulSet", selector={"matchLabels": {"app": "y"}})), ("statefulsets", workload_of("StatefulSet", podManagementPolicy="Random")), ("statefulsets", workload_of("StatefulSet", updateStrategy={"type": "Never"})),
    ("daemonsets", workload_of("DaemonSet", selector={"matchLabels": {"app": "y"}})), ("daemonsets", workload_of("DaemonSet", updateStrategy={"type": "Never"}))]],
    *[post(BATCH + plural + "?dryRun=All", body) for plural, body in [("jobs", obj("batch/v1", "Job", "j", {"spec": spec})) for spec in [{"template": template}, {"template": {"spec": {**template["spec"], "restartPolicy": "Always"}}}, {"template": {"spec": {**template["spec"], "restartPolicy": "Never"}}, "completions": -1}, {"template": {"spec": {**template["spec"], "restartPolicy": "Never"}}, "parallelism": -1}, {"template": {"spec": {**template["spec"], "restartPolicy": "Never"}}, "backoffLimit": -1}, {"template": {"spec": {**template["spec"], "restartPolicy": "Never"}}, "completionMode": "Other"}]]
      + [("cronjobs", obj("batch/v1", "CronJob", "c", {"spec": {"jobTemplate": {"spec": {"template": {"spec": {**template["spec"], "restartPolicy": "Never"}}}}, **spec}})) for spec in [{}, {"schedule": "often"}, {"schedule": "* * * * *", "concurrencyPolicy": "Maybe"}, {"schedule": "* * * * *", "startingDeadlineSeconds": -1}, {"schedule": "* * * * *", "timeZone": "Nowhere/X"}]]])
def bad_service(**spec): return obj("v1", "Service", "s", {"spec": {"ports": [{"port": 80}], **spec}})
scenario("validation of networking", *[post(SERVICES + "?dryRun=All", body) for body in [
    bad_service(ports=[]), bad_service(ports=[{"port": 80, "name": "A"}]), bad_service(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]), bad_service(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]), bad_service(ports=[{"port": 80, "protocol": "HTTP"}]), bad_service(ports=[{"port": 80, "targetPort": 0}]), bad_service(ports=[{"port": 80, "targetPort": "Bad Name"}]),
    bad_service(type="Other"), bad_service(sessionAffinity="Sticky"), bad_service(clusterIP="1.2.3"), bad_service(clusterIP="8.8.8.8"), bad_service(selector={"a b": "c"}), bad_service(externalIPs=["x"]), bad_service(type="ExternalName", externalName="Bad_Name"), bad_service(internalTrafficPolicy="Some"), bad_service(ports=[{"port": 80, "nodePort": 30000}]), bad_service(type="NodePort", ports=[{"port": 80, "nodePort": 5}]), bad_service(clusterIP="None", type="NodePort")]],
    *[post(INGRESSES + "?dryRun=All", obj("networking.k8s.io/v1", "Ingress", "i", {"spec": spec})) for spec in [{}, {"rules": [{"http": {"paths": [{"path": "x", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}, {"rules": [{"http": {"paths": [{"path": "/x", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]},
        {"rules": [{"http": {"paths": [{"path": "/x", "pathType": "Prefix", "backend": {"service": {"name": "s"}}}]}}]}, {"rules": [{"host": "Bad_Host"}]}, {"rules": [{"host": "1.2.3.4"}]}, {"defaultBackend": {}}, {"defaultBackend": {"service": {"name": "s", "port": {"number": 0}}}}]],
    *[post("/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies?dryRun=All", obj("networking.k8s.io/v1", "NetworkPolicy", "n", {"spec": spec})) for spec in [{"podSelector": {}, "policyTypes": ["Both"]}, {"podSelector": {"matchLabels": {"a b": "c"}}}, {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]}, {"podSelector": {}, "ingress": [{"from": [{}]}]}, {"podSelector": {}, "ingress": [{"ports": [{"port": 0}]}]}]])
role = lambda rule: obj("rbac.authorization.k8s.io/v1", "Role", "r", {"rules": [rule]})
binding = lambda reference=None, *subjects: obj("rbac.authorization.k8s.io/v1", "RoleBinding", "b", {"roleRef": reference or {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}, "subjects": list(subjects)})
scenario("validation of policies", *[post(RBAC + "namespaces/{ns}/roles?dryRun=All", role(rule)) for rule in [{}, {"verbs": ["get"]}, {"verbs": ["get"], "apiGroups": [""]}, {"verbs": [], "apiGroups": [""], "resources": ["pods"]}, {"verbs": ["get"], "nonResourceURLs": ["/x"]}]],
         *[post(RBAC + "namespaces/{ns}/rolebindings?dryRun=All", body) for body in [binding({"kind": "Other", "name": "r"}), binding({"kind": "Role"}), binding(None, {"kind": "ServiceAccount", "name": "s"}), binding(None, {"kind": "Robot", "name": "s"}), binding(None, {"kind": "User"}), binding(None, {"kind": "User", "name": "u", "apiGroup": "x"}), binding({"kind": "Role", "name": "r", "apiGroup": "x"})]],
         *[post(SCALERS + "?dryRun=All", obj("autoscaling/v2", "HorizontalPodAutoscaler", "h", {"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, **spec}})) for spec in [{}, {"maxReplicas": 0}, {"maxReplicas": 1, "minReplicas": 2}, {"maxReplicas": 1, "minReplicas": 0}, {"maxReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}, {"maxReplicas": 1, "scaleTargetRef": {"apiVersion": "apps/v1", "name": "d"}}, {"maxReplicas": 1, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment"}}]],
         *[post(BUDGETS + "?dryRun=All", obj("policy/v1", "PodDisruptionBudget", "p", {"spec": spec})) for spec in [{"minAvailable": 1, "maxUnavailable": 1}, {"minAvailable": -1}, {"minAvailable": "x"}, {"maxUnavailable": "101%"}, {"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}, {}]],
         *[post(SECRETS + "?dryRun=All", obj("v1", "Secret", "s", rest)) for rest in [{"type": "kubernetes.io/tls"}, {"type": "kubernetes.io/tls", "stringData": {"tls.crt": "x"}}, {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "x"}}, {"type": "kubernetes.io/dockerconfigjson"}, {"type": "kubernetes.io/basic-auth"}, {"type": "kubernetes.io/ssh-auth"}, {"type": "kubernetes.io/service-account-token"}, {"data": {"a": "!"}}, {"stringData": {"a b": "x"}}]],
         *[post(CLAIMS + "?dryRun=All", obj("v1", "PersistentVolumeClaim", "v", {"spec": spec})) for spec in [{}, {"accessModes": ["ReadWriteOnce"]}, {"accessModes": ["Sometimes"], "resources": {"requests": {"storage": "1Gi"}}}, {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "0"}}}]],
         post("/api/v1/namespaces/{ns}/limitranges?dryRun=All", obj("v1", "LimitRange", "l", {"spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}})), post("/api/v1/namespaces/{ns}/resourcequotas?dryRun=All", obj("v1", "ResourceQuota", "q", {"spec": {"hard": {"pods": "-1"}}})))

# --- What may not change any more.
scenario("immutable fields", post(APPS + "deployments", deployment("a", replicas=0)), merge(APPS + "deployments/a", {"spec": {"selector": {"matchLabels": {"app": "x", "b": "c"}}}}), merge(APPS + "deployments/a", {"spec": {"selector": {"matchLabels": {"b": "c"}}, "template": {"metadata": {"labels": {"b": "c"}}}}}),
         post(SECRETS, obj("v1", "Secret", "s", {"type": "a.b/c"})), merge(SECRETS + "/s", {"type": "d.e/f"}), merge(SECRETS + "/s", {"immutable": True}), merge(SECRETS + "/s", {"data": {"a": "YQ=="}}),
         post(SERVICES, obj("v1", "Service", "h", {"spec": {"clusterIP": "None", "ports": [{"port": 1}]}})), merge(SERVICES + "/h", {"spec": {"clusterIP": ""}}), merge(SERVICES + "/h", {"spec": {"clusterIP": "10.96.0.77"}}), merge(SERVICES + "/h", {"spec": {"type": "ExternalName", "externalName": "a.b"}}),
         post(RBAC + "namespaces/{ns}/rolebindings", binding()), merge(RBAC + "namespaces/{ns}/rolebindings/b", {"roleRef": {"name": "other"}}), post(BATCH + "jobs", obj("batch/v1", "Job", "j", {"spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}})), merge(BATCH + "jobs/j", {"spec": {"completions": 5}}), merge(BATCH + "jobs/j", {"spec": {"parallelism": 5}}), merge(BATCH + "jobs/j", {"spec": {"backoffLimit": 1}}),
         post(APPS + "statefulsets", workload_of("StatefulSet", serviceName="s", replicas=0)), merge(APPS + "statefulsets/w", {"spec": {"serviceName": "t"}}), merge(APPS + "statefulsets/w", {"spec": {"replicas": 2}}), post(PODS, pod("p")), merge(PODS + "/p", {"spec": {"restartPolicy": "Never"}}), merge(PODS + "/p", {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}), merge(PODS + "/p", {"spec": {"activeDeadlineSeconds": 5}}), merge(PODS + "/p", {"spec": {"tolerations": [{"key": "k", "operator": "Exists"}]}}))
scenario("dryRun", post(APPS + "deployments", deployment("a", replicas=0)), merge(APPS + "deployments/a/scale?dryRun=All", {"spec": {"replicas": 4}}), merge(APPS + "deployments/a/status?dryRun=All", {"status": {"replicas": 4}}), smp(APPS + "deployments/a?dryRun=All", {"spec": {"replicas": 3}}), jsonp(APPS + "deployments/a?dryRun=All", [{"op": "replace", "path": "/spec/replicas", "value": 9}]), delete(APPS + "deployments?dryRun=All"), get(APPS + "deployments/a", accept=TABLE),
         post(SERVICES + "?dryRun=All", obj("v1", "Service", "s", {"spec": {"ports": [{"port": 80}]}})), get(SERVICES + "/s"), post("/api/v1/namespaces?dryRun=All", obj("v1", "Namespace", "corpus-dry-{id}")), get("/api/v1/namespaces/corpus-dry-{id}"), delete("/api/v1/namespaces/{ns}?dryRun=All"), post(MAPS, cm("still")))
