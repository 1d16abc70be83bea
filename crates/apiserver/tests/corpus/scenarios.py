"""The requests of the corpus: scenarios of steps, by clause. Pure data; `record` sends them.

A step is {m, p, b, ct, accept, save, until}: method, path, body, content type, Accept header, a name
under which the answer's metadata is kept, and a code to wait for. In paths and bodies {ns} is the
scenario's own namespace, {id} its number, {big:N} many letters, {NAME.FIELD} a kept field (uid, resourceVersion, continue).
"""
import base64, struct

GROUP = "corpus.example.com"
JSON, MERGE, PATCH = "application/json", "application/merge-patch+json", "application/json-patch+json"
SMP, APPLY, PROTO = "application/strategic-merge-patch+json", "application/apply-patch+yaml", "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIALS = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
MAPS, SECRETS, PODS = "/api/v1/namespaces/{ns}/configmaps", "/api/v1/namespaces/{ns}/secrets", "/api/v1/namespaces/{ns}/pods"
SERVICES, ACCOUNTS = "/api/v1/namespaces/{ns}/services", "/api/v1/namespaces/{ns}/serviceaccounts"
APPS, BATCH = "/apis/apps/v1/namespaces/{ns}/", "/apis/batch/v1/namespaces/{ns}/"
THINGS = f"/apis/{GROUP}/v1/namespaces/{{ns}}/things"
OLD = f"/apis/{GROUP}/v1alpha1/namespaces/{{ns}}/things"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
RBAC = "/apis/rbac.authorization.k8s.io/v1/"

scenarios = []


def scenario(clause, *steps):
    scenarios.append({"clause": clause, "steps": [step for step in steps]})


def step(m, p, b=None, ct=None, **rest):
    out = {"m": m, "p": p}
    if b is not None:
        out["b"] = b
        out["ct"] = ct or JSON
    elif ct:
        out["ct"] = ct
    out.update(rest)
    return out


def get(p, **rest): return step("GET", p, **rest)
def post(p, b, ct=None, **rest): return step("POST", p, b, ct, **rest)
def put(p, b, ct=None, **rest): return step("PUT", p, b, ct, **rest)
def merge(p, b, **rest): return step("PATCH", p, b, MERGE, **rest)
def jsonp(p, b, **rest): return step("PATCH", p, b, PATCH, **rest)
def smp(p, b, **rest): return step("PATCH", p, b, SMP, **rest)
def apply(p, b, manager="one", force=False, **rest):
    separator = "&" if "?" in p else "?"
    return step("PATCH", f"{p}{separator}fieldManager={manager}" + ("&force=true" if force else ""), b, APPLY, **rest)
def delete(p, b=None, **rest): return step("DELETE", p, b, **rest)


def cm(name, data=None, **meta):
    out = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}}
    if data is not None:
        out["data"] = data
    return out


def thing(name, spec=None, version="v1", **meta):
    out = {"apiVersion": f"{GROUP}/{version}", "kind": "Thing", "metadata": {"name": name, **meta}}
    if spec is not None:
        out["spec"] = spec
    return out


def obj(api, kind, name, rest=None, **meta):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **meta}, **(rest or {})}


template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}


def deployment(name, **spec):
    return obj("apps/v1", "Deployment", name, {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template, **spec}})


def pod(name, **meta):
    return obj("v1", "Pod", name, {"spec": {"automountServiceAccountToken": False, "containers": [{"name": "c", "image": "i:1"}]}}, **meta)


crd = obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"things.{GROUP}", {"spec": {
    "group": GROUP, "scope": "Namespaced",
    "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList", "shortNames": ["tg"], "categories": ["all"]},
    "versions": [{
        "name": "v1", "served": True, "storage": True,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
        "selectableFields": [{"jsonPath": ".spec.color"}],
        "additionalPrinterColumns": [
            {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
            {"name": "Labels", "type": "string", "jsonPath": ".spec.tags", "priority": 1}],
        "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
            "spec": {"type": "object", "properties": {
                "color": {"type": "string", "default": "red", "enum": ["red", "green", "blue"]},
                "size": {"type": "integer", "minimum": 1, "maximum": 100, "format": "int32"},
                "name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
                "ratio": {"type": "number", "exclusiveMinimum": True, "minimum": 0},
                "on": {"type": "boolean"}, "when": {"type": "string", "format": "date-time"},
                "maybe": {"type": "string", "nullable": True},
                "replicas": {"type": "integer", "default": 1},
                "either": {"x-kubernetes-int-or-string": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}, "maxItems": 4},
                "list": {"type": "array", "items": {"type": "string"}},
                "frozen": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "frozen cannot change"}]},
                "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
                    "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "weight": {"type": "integer", "default": 1}, "note": {"type": "string"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "atom": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
                "low": {"type": "integer"}, "high": {"type": "integer"}},
                "x-kubernetes-validations": [
                    {"rule": "!has(self.low) || !has(self.high) || self.low <= self.high", "message": "low must not be above high", "fieldPath": ".low"},
                    {"rule": "!has(self.low) || self.low != 13", "messageExpression": "self.low == 13 ? 'low is unlucky' : 'low is odd'", "reason": "FieldValueForbidden"},
                    {"rule": "!has(oldSelf.size) || has(self.size)", "message": "size cannot be removed"},
                    {"rule": "!has(oldSelf.size) || !has(self.size) || self.size >= oldSelf.size", "message": "size cannot shrink"}]},
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}, "phase": {"type": "string"},
                "conditions": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"], "items": {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}, "status": {"type": "string"}}}}}}}}}},
        {"name": "v1alpha1", "served": True, "storage": False, "deprecated": True, "subresources": {"status": {}},
         "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"color": {"type": "string"}, "size": {"type": "integer"}}}, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}]}})

# Create, read, update, delete.
kinds = [
    (MAPS, cm("a", {"k": "v"})), (SECRETS, obj("v1", "Secret", "a", {"stringData": {"k": "v"}})), (THINGS, thing("a", {"size": 3})),
    (LEASES, obj("coordination.k8s.io/v1", "Lease", "a", {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}})),
    (ACCOUNTS, obj("v1", "ServiceAccount", "a")), (APPS + "deployments", deployment("a", replicas=0))]
for base, body in kinds:
    scenario("create, read, update, delete", post(base, body), post(base, body), get(base + "/a"), get(base + "/none"),
             merge(base + "/a", {"metadata": {"labels": {"l": "1"}}}), get(base + "?labelSelector=l%3D1"), delete(base + "/a"), delete(base + "/a"))

# Lists in pages.
def secret(name): return obj("v1", "Secret", name)


for base, make in [(SECRETS, secret), (THINGS, lambda name: thing(name, {}))]:
    scenario("limit and continue", *[post(base, make(f"m{i}")) for i in range(5)],
             get(base + "?limit=2&labelSelector=none%3D1"), get(base + "?limit=2", save="page"),
             delete(base + "/m3"), get(base + "?limit=2&continue={page.continue}", save="next"), get(base + "?limit=2&continue={next.continue}"),
             get(base + "?continue=nonsense"), get(base + "?limit=2&continue={page.continue}&resourceVersion=1"),
             get(base + "?limit=2&continue={page.continue}&resourceVersion=0"), get(base + "?limit=-1"), get(base + "?limit=x"), get(base + "?limit=0"),
             get(base + "?limit=2&fieldSelector=metadata.name%3Dm1"), get(base + "?fieldSelector=metadata.name%21%3Dm1"))

# Watches.
for base, make in [(MAPS, lambda name, value: cm(name, {"k": value}, labels={"v": value})), (THINGS, lambda name, value: thing(name, {"color": value}, labels={"v": value}))]:
    scenario("watch", get(base, save="start"), post(base, make("a", "red")), merge(base + "/a", {"metadata": {"labels": {"v": "blue"}}}), post(base, make("b", "green")), delete(base + "/a"),
             *[get(f"{base}?watch=true&timeoutSeconds=1&resourceVersion={{start.resourceVersion}}{more}", watch=True) for more in
               ["", "&labelSelector=v%3Dred", "&labelSelector=v%3Dblue", "&labelSelector=%21v", "&labelSelector=v%20in%20(red,green)", "&fieldSelector=metadata.name%3Db", "&fieldSelector=metadata.name%21%3Db"]],
             get(f"{base}?watch=true&timeoutSeconds=1&resourceVersion={{start.resourceVersion}}", watch=True, accept=PARTIAL),
             get(f"{base}?watch=true&timeoutSeconds=1&resourceVersion={{start.resourceVersion}}", watch=True, accept=TABLE),
             get(f"{base}?watch=true&timeoutSeconds=1&resourceVersion=x"), get(f"{base}?watch=true&timeoutSeconds=1&labelSelector=a%20b"), get(f"{base}?watch=true&timeoutSeconds=x"))

for base, make in [(MAPS, cm), (THINGS, lambda name: thing(name, {}))]:
    initial = f"{base}?watch=true&timeoutSeconds=1&sendInitialEvents=true&allowWatchBookmarks=true"
    scenario("sendInitialEvents", get(initial + "&resourceVersionMatch=NotOlderThan&labelSelector=x%3Dy", watch=True), post(base, make("a")), post(base, make("b")),
             get(initial + "&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Da", watch=True), get(initial),
             get(initial + "&resourceVersionMatch=Exact"), get(initial.replace("&allowWatchBookmarks=true", "") + "&resourceVersionMatch=NotOlderThan", watch=True),
             get(base + "?sendInitialEvents=true"), get(base + "?sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
             get(initial + "&resourceVersionMatch=NotOlderThan&resourceVersion=0&fieldSelector=metadata.name%3Db", watch=True),
             get(base + "?watch=true&timeoutSeconds=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Db&allowWatchBookmarks=true", watch=True),
             get(initial + "&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Da", watch=True, accept=PARTIAL))

for base, make in [(SECRETS, secret), (THINGS, lambda name: thing(name, {}))]:
    scenario("resourceVersionMatch", post(base, make("a"), save="a"), post(base, make("b")), delete(base + "/b"),
             *[get(f"{base}?{query}") for query in [
                 "resourceVersion={a.resourceVersion}&resourceVersionMatch=Exact", "resourceVersion={a.resourceVersion}&resourceVersionMatch=NotOlderThan", "resourceVersion={a.resourceVersion}",
                 "resourceVersion=0", "resourceVersion=0&resourceVersionMatch=Exact", "resourceVersionMatch=Exact", "resourceVersionMatch=NotOlderThan", "resourceVersion=1&resourceVersionMatch=Other",
                 "resourceVersion=x", "resourceVersion=-1", "resourceVersion={a.resourceVersion}&limit=1", "watch=true&timeoutSeconds=1&resourceVersionMatch=Exact", "watch=true&timeoutSeconds=1&resourceVersionMatch=NotOlderThan"]],
             get(base + "/a?resourceVersion=0"), get(base + "/a?resourceVersion=x"), get(base + "/a?resourceVersion={a.resourceVersion}"))

for base, make in [(MAPS, lambda name, label: cm(name, labels={"l": label})), (THINGS, lambda name, label: thing(name, {}, labels={"l": label}))]:
    scenario("deletecollection", *[post(base, make(f"m{i}", str(i % 2))) for i in range(4)],
             delete(base + "?labelSelector=l%3D0&dryRun=All"), delete(base + "?labelSelector=l%3D0"), get(base + "?labelSelector=l"),
             delete(base + "?labelSelector=%21%21"), delete(base + "?fieldSelector=metadata.name%3Dm1"), delete(base + "?fieldSelector=spec.none%3D1"),
             delete(base + "?labelSelector=l&limit=1"), get(base + "?labelSelector=l"), delete(base + "?labelSelector=l", {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Nonsense"}),
             delete(base + "?labelSelector=l", {"dryRun": ["All"]}), delete(base + "?labelSelector=l", {"gracePeriodSeconds": 0}), delete(base + "?labelSelector=l"))

for base, make, patch in [(MAPS, lambda name: cm(name, {"a": "b"}), {"data": {"a": "c"}}), (THINGS, lambda name: thing(name, {"size": 1}), {"spec": {"size": 2}})]:
    body = make("a")
    scenario("dryRun", post(base + "?dryRun=All", body), get(base + "/a"), post(base, body), post(base + "?dryRun=All", body), merge(base + "/a?dryRun=All", patch), get(base + "/a"),
             put(base + "/a?dryRun=All", {**body, "metadata": {"name": "a", "labels": {"x": "y"}, "resourceVersion": "1"}}), apply(base + "/a?dryRun=All", {**body, **patch}, force=True), apply(base + "/new?dryRun=All", make("new")),
             delete(base + "/a?dryRun=All"), delete(base + "/a", {"dryRun": ["All"]}), get(base + "/a"), post(base + "?dryRun=Some", make("b")), post(base + "?dryRun=", make("b")), post(base + "?dryRun=All", make("BAD")), delete(base + "/none?dryRun=All"))

unknown = [(MAPS, {**cm("a"), "more": 1}, "more"), (THINGS, {**thing("a", {"none": 1, "size": 1}), "more": {"x": 1}}, "none"), (APPS + "deployments", deployment("a", replicas=0, wrong=1), "wrong"), (SERVICES, obj("v1", "Service", "a", {"spec": {"clusterIP": "None", "portz": [], "ports": [{"port": 1, "x": 2}]}}), "x")]
for base, body, _ in unknown:
    scenario("fieldValidation", post(base + "?fieldValidation=Strict&dryRun=All", body), post(base + "?fieldValidation=Warn&dryRun=All", body), post(base + "?fieldValidation=Ignore&dryRun=All", body), post(base + "?dryRun=All", body),
             post(base + "?fieldValidation=Other", body), post(base + "?fieldValidation=Strict&dryRun=All", '{"metadata":{"name":"d","name":"e"},"metadata":{"name":"f"}}'),
             post(base + "?fieldValidation=Ignore", body), merge(base + "/a?fieldValidation=Strict", {"metadata": {"unknown": 1}}), merge(base + "/a?fieldValidation=Warn", {"metadata": {"unknown": 1}}))

for base, make in [(MAPS, cm), (THINGS, lambda name: thing(name, {}))]:
    def generated(prefix, name=None, make=make):
        body = make("x")
        body["metadata"] = {"generateName": prefix, **({"name": name} if name else {})}
        return body
    scenario("generateName", *[post(base, generated(prefix)) for prefix in ["g-", "g", "Bad", "g.", "a" * 70 + "-", "-x", ""]], post(base, generated("g-", "named")), post(base, generated("g-", "named")),
             apply(base + "/g2", {**make("g2"), "metadata": {"name": "g2", "generateName": "g-"}}), merge(base + "/named", {"metadata": {"generateName": "other-"}}))

for base, make in [(MAPS, cm), (THINGS, lambda name: thing(name, {}))]:
    scenario("preconditions", post(base, make("a"), save="a"), delete(base + "/a", {"preconditions": {"uid": "wrong"}}), delete(base + "/a", {"preconditions": {"resourceVersion": "1"}}), delete(base + "/a", {"preconditions": {"uid": "{a.uid}", "resourceVersion": "1"}}),
             delete(base + "/a", {"preconditions": {"uid": "{a.uid}"}, "dryRun": ["All"]}), put(base + "/a", {**make("a"), "metadata": {"name": "a", "uid": "wrong", "resourceVersion": "{a.resourceVersion}"}}), merge(base + "/a", {"metadata": {"uid": "wrong"}}),
             apply(base + "/none", {**make("none"), "metadata": {"name": "none", "uid": "x"}}), apply(base + "/a", {**make("a"), "metadata": {"name": "a", "uid": "wrong"}}), merge(base + "/a", {"metadata": {"uid": "{a.uid}", "labels": {"x": "y"}}}),
             delete(base + "/a", {"preconditions": {"resourceVersion": "{a.resourceVersion}"}}), delete(base + "/a", {"preconditions": 3}), delete(base + "/a", {"preconditions": {"uid": "{a.uid}"}}), get(base + "/a"))

def owned(name, owner, uid, block=False): return cm(name, ownerReferences=[{"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid, **({"blockOwnerDeletion": True} if block else {})}])
for policy in ["Background", "Foreground", "Orphan"]:
    scenario("propagation", post(MAPS, cm("o"), save="o"), post(MAPS, owned("d", "o", "{o.uid}", policy == "Foreground")), delete(MAPS + f"/o?propagationPolicy={policy}"), get(MAPS + "/o", until=404), get(MAPS + "/d", until=200 if policy == "Orphan" else 404))
scenario("propagation", post(MAPS, cm("o"), save="o"), delete(MAPS + "/o?propagationPolicy=Nonsense"), delete(MAPS + "/o", {"propagationPolicy": "Orphan", "orphanDependents": True}), delete(MAPS + "/o", {"orphanDependents": True}), get(MAPS + "/o", until=404))
scenario("finalizers", post(MAPS, cm("f", finalizers=["x.io/hold"])), delete(MAPS + "/f"), delete(MAPS + "/f"), post(MAPS, cm("f")), merge(MAPS + "/f", {"metadata": {"finalizers": ["x.io/hold", "x.io/more"]}}), merge(MAPS + "/f", {"metadata": {"labels": {"still": "here"}}}), merge(MAPS + "/f", {"metadata": {"finalizers": None}}), get(MAPS + "/f"),
         post(MAPS, cm("g", finalizers=["bad"])), post(MAPS, cm("g", finalizers=["a/b/c"])), post(MAPS, cm("g", finalizers=["x.io/b", "x.io/b"])))
scenario("finalizers", post(THINGS, thing("f", {}, finalizers=["x.io/hold"])), delete(THINGS + "/f"), get(THINGS + "/f"), post(THINGS, thing("f", {})), merge(THINGS + "/f", {"metadata": {"finalizers": ["x.io/new"]}}), jsonp(THINGS + "/f", [{"op": "remove", "path": "/metadata/finalizers/0"}]), get(THINGS + "/f"), post(THINGS, thing("f", {})))
scenario("owner references", post(MAPS, owned("orphaned", "never", "00000000-0000-0000-0000-000000000000")), get(MAPS + "/orphaned", until=404), post(MAPS, cm("o"), save="o"), post(MAPS, owned("d", "o", "{o.uid}")), post(MAPS, owned("e", "o", "{o.uid}")), delete(MAPS + "/o"), get(MAPS + "/d", until=404), get(MAPS + "/e", until=404),
         *[post(MAPS, cm("bad", ownerReferences=[reference])) for reference in [{}, {"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}, {"apiVersion": "v1", "kind": "Event", "name": "x", "uid": "1"}, {"apiVersion": "a/b/c", "kind": "K", "name": "x", "uid": "1"}]],
         post(MAPS, cm("two", ownerReferences=[{"apiVersion": "v1", "kind": "ConfigMap", "name": n, "uid": n, "controller": True} for n in "ab"])), post(MAPS + "?dryRun=All", cm("same", ownerReferences=[{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "a"}] * 2)))
space = "/api/v1/namespaces/corpus-extra-{id}"
scenario("namespaces", post("/api/v1/namespaces", obj("v1", "Namespace", "corpus-extra-{id}")), post(space + "/configmaps", cm("a")), post(space + "/configmaps", cm("held", finalizers=["x.io/hold"])), delete(space), post(space + "/configmaps", cm("late")), get(space + "/configmaps/a", until=404), delete(space + "/configmaps/held"), merge(space + "/configmaps/held", {"metadata": {"finalizers": None}}), get(space, until=404), get(space + "/configmaps"),
         post(space + "/configmaps", cm("gone")), post("/api/v1/namespaces", obj("v1", "Namespace", "Bad_Name")), delete("/api/v1/namespaces/default"), delete("/api/v1/namespaces/kube-system"), put(space + "/finalize", obj("v1", "Namespace", "corpus-extra-{id}")), merge("/api/v1/namespaces/{ns}", {"metadata": {"labels": {"kubernetes.io/metadata.name": "other"}}}))

generations = [(THINGS + "/a", post(THINGS, thing("a", {"size": 1})), {"spec": {"size": 2}}), (APPS + "deployments/a", post(APPS + "deployments", deployment("a", replicas=0)), {"spec": {"paused": True}}), (APPS + "statefulsets/a", post(APPS + "statefulsets", obj("apps/v1", "StatefulSet", "a", {"spec": {"serviceName": "s", "replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template}})), {"spec": {"replicas": 1}}),
               (f"/apis/networking.k8s.io/v1/namespaces/{{ns}}/ingresses/a", post("/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses", obj("networking.k8s.io/v1", "Ingress", "a", {"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}})), {"spec": {"ingressClassName": "x"}})]
for path, create, change in generations:
    scenario("generation", create, merge(path, {"metadata": {"labels": {"a": "b"}}}), merge(path, {"metadata": {"annotations": {"a": "b"}}}), merge(path, change), merge(path, change), merge(path + "/status", {"status": {"observedGeneration": 1, "phase": "x"}}), merge(path, {"metadata": {"generation": 77}}))

for path, create, status in [(THINGS + "/a", post(THINGS, {**thing("a", {"size": 1}), "status": {"phase": "given"}}), {"phase": "Ready"}), (APPS + "deployments/a", post(APPS + "deployments", deployment("a", replicas=0)), {"replicas": 3}), (PODS + "/a", post(PODS, pod("a")), {"phase": "Running"})]:
    scenario("status", create, get(path), merge(path, {"status": status}), merge(path + "/status", {"status": status, "metadata": {"labels": {"l": "m"}}, "spec": {"size": 50}}), get(path + "/status"), get(path), apply(path + "/status", {**create["b"], "spec": None, "status": status}, "st", force=True), put(path + "/status", create["b"]), get(path + "/nothing"), delete(path + "/status"), post(path + "/status", {}))

for path, create in [(THINGS + "/a", post(THINGS, thing("a", {"replicas": 2}))), (APPS + "deployments/a", post(APPS + "deployments", deployment("a", replicas=2))), (APPS + "replicasets/a", post(APPS + "replicasets", obj("apps/v1", "ReplicaSet", "a", {"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template}})))]:
    scale = lambda n: obj("autoscaling/v1", "Scale", "a", {"spec": {"replicas": n}})
    scenario("scale", create, get(path + "/scale"), put(path + "/scale", scale(5)), get(path), merge(path + "/scale", {"spec": {"replicas": 7}}), put(path + "/scale", scale(-1)), merge(path + "/scale", {"spec": {"replicas": "x"}}), put(path + "/scale", {**scale(1), "metadata": {"name": "a", "resourceVersion": "1"}}), jsonp(path + "/scale", [{"op": "replace", "path": "/spec/replicas", "value": 1}]), get(path + "/scale", accept=TABLE), put(path + "/scale?dryRun=All", scale(9)), get(path[:-1] + "none/scale"))

budgets = "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets"
eviction = lambda name, **options: obj("policy/v1", "Eviction", name, {"deleteOptions": options} if options else None)
scenario("eviction", post(PODS, pod("a", labels={"app": "x"})), post(PODS, pod("b", labels={"app": "x"})), post(PODS + "/none/eviction", eviction("none")), post(PODS + "/a/eviction?dryRun=All", eviction("a")), get(PODS + "/a/eviction"), post(PODS + "/a/eviction", eviction("a", gracePeriodSeconds=0)), get(PODS + "/a"),
         merge(PODS + "/b/status", {"status": {"phase": "Running"}}), post(budgets, obj("policy/v1", "PodDisruptionBudget", "p", {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}})), merge(budgets + "/p/status", {"status": {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1, "observedGeneration": 1}}),
         post(PODS + "/b/eviction", eviction("b")), merge(budgets + "/p/status", {"status": {"disruptionsAllowed": 1}}), post(PODS + "/b/eviction", eviction("b", gracePeriodSeconds=0)), get(budgets + "/p"))

tokens = ACCOUNTS + "/default/token"
request = lambda **spec: {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
scenario("token requests", post(tokens, request()), post(tokens, request(expirationSeconds=600)), post(tokens, request(expirationSeconds=599)), post(tokens, request(expirationSeconds=1 << 33)), post(tokens, request(audiences=["a", "b"])), post(ACCOUNTS + "/none/token", request()), get(tokens), post(tokens, {"spec": {}}), post(tokens, {}), post(tokens + "?dryRun=All", request()),
         post(tokens, request(boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "none"})), post(tokens, request(boundObjectRef={"kind": "Other", "apiVersion": "v1", "name": "none"})), post(tokens, {"apiVersion": "v1", "kind": "Pod"}))

for base, make in [(MAPS, lambda **meta: cm("a", {"k": "1"}, **meta)), (THINGS, lambda **meta: thing("a", {"size": 1}, **meta)), (LEASES, lambda **meta: obj("coordination.k8s.io/v1", "Lease", "a", {"spec": {}}, **meta))]:
    scenario("optimistic concurrency", post(base, make(), save="a"), put(base + "/a", make(labels={"n": "1"}, resourceVersion="{a.resourceVersion}"), save="b"), put(base + "/a", make(labels={"n": "2"}, resourceVersion="{a.resourceVersion}")), put(base + "/a", make(labels={"n": "3"})), put(base + "/a", make(resourceVersion="x")), merge(base + "/a", {"metadata": {"resourceVersion": "{a.resourceVersion}", "labels": {"n": "4"}}}),
             put(base + "/b", make()), put(base + "/b", {**make(), "metadata": {"name": "b"}}), post(base, make(resourceVersion="5")), apply(base + "/a", make(resourceVersion="1")), put(base + "/a", make(namespace="other")), get(base + "/a"))

# What structural schemas do.
specs = [{"size": 1, "unknown": {"x": 1}}, {}, {"color": None}, {"maybe": None}, {"parts": [{"name": "a", "extra": 1}]}, {"free": {"any": [1, {"x": None}]}}, {"map": {"a": "1"}}, {"either": 1}, {"either": "50%"}, {"ratio": 2}, {"size": 2.0}, {"list": []}, {"tags": ["a", "b"]}, {"when": "2026-01-02T03:04:05Z"}, {"atom": {"a": "b"}}]
scenario("pruning and defaulting", *[post(THINGS, thing(f"p{i}", spec)) for i, spec in enumerate(specs)], get(OLD + "/p1"), get(OLD + "/p4"), post(OLD, thing("old", {"color": "purple", "size": 1, "x": 2}, "v1alpha1")), get(THINGS + "/old"), merge(THINGS + "/p1", {"spec": {"color": None}}), put(OLD + "/p4", thing("p4", {"color": "red"}, "v1alpha1", resourceVersion="1")))
bad = [{"color": "pink"}, {"size": 0}, {"size": 101}, {"size": 2147483648}, {"size": "1"}, {"size": 1.5}, {"name": "a"}, {"name": "abcdef"}, {"name": "A1"}, {"ratio": 0}, {"on": "yes"}, {"when": "yesterday"}, {"either": True}, {"tags": ["a", "a"]}, {"tags": list("abcde")}, {"parts": [{"weight": 1}]}, {"parts": [{"name": "a"}, {"name": "a"}]}, {"map": {"a": 1}}, {"list": "x"}, {"list": [1]}, [], None, "x", {"free": 1}]
scenario("validation", *[post(THINGS, thing(f"v{i}", spec)) for i, spec in enumerate(bad)], post(THINGS, thing("BAD", {})), post(THINGS, thing("a", {}, labels={"-": "x"})), post(THINGS, thing("a", {}, labels={"a": "!"})), post(THINGS, thing("a", {}, annotations={"a b": "x"})))
scenario("validation", *[post(MAPS, body) for body in [cm("a", {"bad key": "x"}), cm("A"), cm("a", {"k": 1}), cm("a", [1]), {**cm("a"), "binaryData": {"k": "!"}}, {**cm("a", {"k": "x"}), "binaryData": {"k": "eA=="}}, cm("a" * 254), cm(""), cm("a", labels={"x" * 64: "1"}), cm("a", annotations={"k": "{big:262145}"}), {**cm("a"), "immutable": "x"}, {**cm("a"), "immutable": True}]],
         merge(MAPS + "/a", {"data": {"x": "y"}}), merge(MAPS + "/a", {"immutable": False}))
services = [{"ports": [{"port": 80}]}, {"clusterIP": "None"}, {"type": "ExternalName"}, {"type": "ExternalName", "externalName": "a.b"}, {"ports": [{"port": 0}]}, {"ports": [{"port": 80}, {"port": 81}]}, {"ports": [{"port": 80, "protocol": "X"}]}, {"type": "Odd", "ports": [{"port": 80}]}, {"clusterIP": "None", "ports": [{"port": 80, "targetPort": "http"}]}]
scenario("validation", *[post(SERVICES, obj("v1", "Service", f"s{i}", {"spec": spec})) for i, spec in enumerate(services)])
scenario("CEL rules", *[post(THINGS, thing(f"c{i}", spec)) for i, spec in enumerate([{"low": 2, "high": 1}, {"low": 1, "high": 2}, {"low": 13}, {"low": 13, "high": 1}, {"frozen": "a"}, {"low": 5, "size": 200}, {"low": "x"}])], merge(THINGS + "/c1", {"spec": {"low": 3}}), merge(THINGS + "/c1", {"spec": {"high": 9}}), apply(THINGS + "/c1", thing("c1", {"low": 13}), force=True), apply(THINGS + "/c9", thing("c9", {"low": 9, "high": 8})), jsonp(THINGS + "/c1", [{"op": "replace", "path": "/spec/low", "value": 99}]))
scenario("transition rules", post(THINGS, thing("t", {"frozen": "a", "size": 5})), merge(THINGS + "/t", {"spec": {"frozen": "b"}}), merge(THINGS + "/t", {"spec": {"size": 4}}), merge(THINGS + "/t", {"spec": {"size": None}}), merge(THINGS + "/t", {"spec": {"size": 6}}), merge(THINGS + "/t", {"spec": {"frozen": None}}), merge(THINGS + "/t", {"spec": {"frozen": "c"}}), merge(THINGS + "/t", {"spec": {"frozen": "d", "size": 1}}), apply(THINGS + "/t", thing("t", {"frozen": "e"}), force=True), put(THINGS + "/t", thing("t", {"frozen": "f"}, resourceVersion="1")), get(THINGS + "/t"))

# Patches.
c = lambda **rest: {"spec": {"template": {"spec": {"containers": [rest]}}}}
scenario("strategic merge", post(APPS + "deployments", deployment("a", replicas=0)), *[smp(APPS + "deployments/a", patch) for patch in [
    c(name="c", image="i:2"), c(name="d", image="j"), c(name="c", env=[{"name": "A", "value": "1"}]), c(name="c", env=[{"name": "B", "value": "2"}]), c(name="c", env=[{"name": "A", "$patch": "delete"}]), c(name="d", **{"$patch": "delete"}), c(image="x"),
    {"spec": {"template": {"spec": {"containers": [{"$patch": "replace"}, {"name": "c", "image": "i:3"}]}}}}, {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}, {"spec": {"strategy": {"$patch": "replace", "type": "RollingUpdate"}}}, c(name="c", ports=[{"containerPort": 80}]), c(name="c", ports=[{"containerPort": 80, "name": "http"}]),
    {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "e"}, {"name": "c"}], "containers": [{"name": "e", "image": "e"}]}}}}, {"metadata": {"finalizers": ["a.b/c"]}}, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.b/c"]}}, {"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": {"a": None}}}, {"metadata": {"labels": None}}, {"spec": {"$retainKeys": ["replicas"], "replicas": 0}}, {"spec": {"replicas": "x"}}, {"$patch": "bogus"}, []]], smp(THINGS + "/a", {}))
scenario("strategic merge", post(SERVICES, obj("v1", "Service", "s", {"spec": {"clusterIP": "None", "ports": [{"port": 80, "name": "a"}]}})), smp(SERVICES + "/s", {"spec": {"ports": [{"port": 81, "name": "b"}]}}), smp(SERVICES + "/s", {"spec": {"ports": [{"port": 80, "$patch": "delete"}]}}), smp(ACCOUNTS + "/default", {"imagePullSecrets": [{"name": "x"}]}), smp(ACCOUNTS + "/default", {"imagePullSecrets": [{"name": "y"}]}), smp(ACCOUNTS + "/default", {"secrets": [{"name": "y"}]}))
for base, body, patches in [(MAPS, cm("a", {"k": "v", "l": "w"}), [{"data": {"k": None}}, {"data": None}, {"data": {"n": "1"}}, {"data": {"n": 1}}, {"kind": "Secret"}, {"apiVersion": "v2"}, {"metadata": {"name": "b"}}, {"metadata": {"namespace": "x"}}, {"metadata": {"creationTimestamp": None}}, {"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}, {"metadata": None}, [], "x", {}]),
                            (THINGS, thing("a", {"size": 1, "map": {"a": "1"}}), [{"spec": {"map": {"a": None, "b": "2"}}}, {"spec": {"parts": [{"name": "x"}]}}, {"spec": {"parts": [{"name": "y"}]}}, {"spec": None}, {"spec": {"size": "x"}}, {"kind": "Other"}, {"metadata": {"labels": {"a": 1}}}, {"metadata": {"labels": {"a": "b"}}, "unknown": 1}, "{", 5])]:
    scenario("merge patch", post(base, body), *[merge(base + "/a", patch) for patch in patches], merge(base + "/none", {}), step("PATCH", base + "/a", {}, "application/unknown"), step("PATCH", base + "/a", {}, None), merge(base, {}))
operations = [[{"op": "add", "path": "/data/n", "value": "1"}], [{"op": "replace", "path": "/data/k", "value": "2"}], [{"op": "replace", "path": "/data/absent", "value": "2"}], [{"op": "remove", "path": "/data/n"}], [{"op": "remove", "path": "/data/none"}], [{"op": "test", "path": "/data/k", "value": "2"}], [{"op": "test", "path": "/data/k", "value": "3"}], [{"op": "test", "path": "/data/none", "value": None}], [{"op": "copy", "from": "/data/k", "path": "/data/c"}], [{"op": "move", "from": "/data/c", "path": "/data/m"}], [{"op": "copy", "from": "/data/no", "path": "/data/c"}],
              [{"op": "add", "path": "/metadata/labels", "value": {"a~b": "1"}}], [{"op": "add", "path": "/metadata/labels", "value": {"a": "1"}}], [{"op": "add", "path": "/metadata/annotations/x~1y", "value": "1"}], [{"op": "add", "path": "/metadata/annotations", "value": {}}, {"op": "add", "path": "/metadata/annotations/x~1y", "value": "1"}], [{"op": "bogus", "path": "/x"}], [{"path": "/x"}], {"op": "add"}, [{"op": "add", "path": "data/n", "value": "1"}], [{"op": "replace", "path": "/metadata/name", "value": "z"}], [{"op": "add", "path": "/data", "value": 3}], [], "nonsense", [{"op": "add", "path": "/metadata/finalizers/-", "value": "x.io/a"}], [{"op": "add", "path": "/metadata/finalizers", "value": ["x.io/a"]}, {"op": "add", "path": "/metadata/finalizers/0", "value": "x.io/b"}], [{"op": "remove", "path": "/metadata/finalizers/5"}], [{"op": "remove", "path": "/metadata/finalizers"}]]
scenario("JSON patch", post(MAPS, cm("a", {"k": "v"})), *[jsonp(MAPS + "/a", patch) for patch in operations], jsonp(MAPS + "/none", []), jsonp(MAPS + "/a?dryRun=All", [{"op": "add", "path": "/data/n", "value": "1"}]))

# Server-side apply.
scenario("server-side apply", apply(MAPS + "/a", cm("a", {"x": "1"})), apply(MAPS + "/a", cm("a", {"x": "1"})), apply(MAPS + "/a", cm("a", {"x": "2", "y": "1"})), apply(MAPS + "/a", cm("a", {"y": "1"})), get(MAPS + "/a"), step("PATCH", MAPS + "/a", cm("a"), APPLY), apply(MAPS + "/a", cm("b")), apply(MAPS + "/a", {"data": {}}), apply(MAPS + "/a", "a: [", "one"), apply(MAPS + "/a", cm("a", {"x": 1})), apply(MAPS + "/a", {**cm("a"), "more": 1}), apply(MAPS + "/a", cm("a", managedFields=[])), apply(MAPS + "/a", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: 'y'}\n"), apply(MAPS + "/a", cm("a", namespace="other")), merge(MAPS + "/a?force=true", {}), apply(MAPS + "/a", cm("a"), "x" * 129), apply(MAPS + "/a", cm("a"), "%07"), apply(MAPS, cm("a")))
scenario("server-side apply", apply(THINGS + "/a", thing("a", {"size": 1, "tags": ["a"]})), apply(THINGS + "/a", thing("a", {"size": 2, "tags": ["b"]})), apply(THINGS + "/a", thing("a", {})), apply(THINGS + "/a", thing("a", {"none": 1})), apply(THINGS + "/a", thing("a", {"size": "x"})), apply(OLD + "/a", thing("a", {"size": 5}, "v1alpha1"), "old"), get(THINGS + "/a"), apply(APPS + "deployments/d", deployment("d", replicas=0)), apply(APPS + "deployments/d", deployment("d", replicas=0, paused=True)), get(APPS + "deployments/d"), apply(SERVICES + "/s", obj("v1", "Service", "s", {"spec": {"clusterIP": "None", "ports": [{"port": 80}]}})))
scenario("managed fields", post(MAPS + "?fieldManager=a", cm("m", {"x": "1"})), merge(MAPS + "/m?fieldManager=b", {"data": {"y": "1"}}), merge(MAPS + "/m?fieldManager=b", {"data": {"x": "2"}}), merge(MAPS + "/m?fieldManager=c", {"metadata": {"labels": {"l": "1"}, "annotations": {"n": "1"}}}), merge(MAPS + "/m?fieldManager=a", {"data": None}), merge(MAPS + "/m", {"metadata": {"managedFields": None}}), merge(MAPS + "/m", {"metadata": {"managedFields": [{}]}}), merge(MAPS + "/m?fieldManager=d", {"data": {"z": "1"}}), apply(MAPS + "/m", cm("m", {"z": "2"})), apply(MAPS + "/m", cm("m", {"z": "2"}), force=True), merge(MAPS + "/m?fieldManager=d", {"data": {"w": "1"}}), post(MAPS, cm("n", managedFields=[{"manager": "x"}])), merge(MAPS + "/m?fieldManager=" + "x" * 200, {}))
scenario("managed fields", post(THINGS + "?fieldManager=a", thing("m", {"parts": [{"name": "p"}], "tags": ["t"], "list": ["l"], "map": {"k": "v"}, "atom": {"k": "v"}})), merge(THINGS + "/m/status?fieldManager=st", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}), merge(THINGS + "/m/scale?fieldManager=sc", {"spec": {"replicas": 3}}), merge(THINGS + "/m?fieldManager=b", {"spec": {"parts": [{"name": "p", "weight": 2}, {"name": "q"}]}}), merge(OLD + "/m?fieldManager=o", {"spec": {"size": 3}}), post(APPS + "deployments?fieldManager=a", deployment("d", replicas=0)), smp(APPS + "deployments/d?fieldManager=b", c(name="c", env=[{"name": "A", "value": "1"}])), post(PODS + "?fieldManager=a", pod("p")), post(SERVICES + "?fieldManager=a", obj("v1", "Service", "s", {"spec": {"clusterIP": "None", "ports": [{"port": 80}]}})))
for base, make in [(MAPS, lambda value, **rest: cm("a", {"x": value, **rest})), (THINGS, lambda value, **rest: thing("a", {"map": {"x": value, **rest}}))]:
    scenario("conflicts", apply(base + "/a", make("1")), apply(base + "/a", make("2"), "two"), apply(base + "/a", make("1"), "two"), apply(base + "/a", make("3"), "two"), apply(base + "/a", make("3"), "two", True), apply(base + "/a", make("1")), apply(base + "/a", make("1", y="1"), "three"), merge(base + "/a?fieldManager=editor", {"data": {"x": "9"}} if base is MAPS else {"spec": {"map": {"x": "9"}}}), apply(base + "/a", make("1")), apply(base + "/a", make("9")), apply(base + "/a", make("1", y="2")), get(base + "/a"))
parts = lambda *names, **rest: thing("a", {"parts": [{"name": name, **rest} for name in names]})
scenario("list-map and set keys", apply(THINGS + "/a", parts("p", "q")), apply(THINGS + "/a", parts("r"), "two"), apply(THINGS + "/a", parts("p", weight=5), "two"), apply(THINGS + "/a", parts("p", weight=5), "two", True), apply(THINGS + "/a", parts("q")), apply(THINGS + "/a", parts("x", "x")), apply(THINGS + "/a", thing("a", {"parts": [{"weight": 1}]})), apply(THINGS + "/a", thing("a", {"tags": ["a", "b"]}), "tags"), apply(THINGS + "/a", thing("a", {"tags": ["c"]}), "two"), apply(THINGS + "/a", thing("a", {"tags": ["b"]}), "tags"), apply(THINGS + "/a", thing("a", {"tags": ["b", "b"]}), "tags"), apply(THINGS + "/a", thing("a", {"list": ["a"]}), "l1"), apply(THINGS + "/a", thing("a", {"list": ["b"]}), "l2"), apply(THINGS + "/a", thing("a", {"atom": {"a": "1"}}), "m1"), apply(THINGS + "/a", thing("a", {"atom": {"b": "1"}}), "m2"), get(THINGS + "/a"))
scenario("shared ownership and removal", apply(MAPS + "/a", cm("a", {"x": "1", "y": "1"})), apply(MAPS + "/a", cm("a", {"x": "1"}), "two"), apply(MAPS + "/a", cm("a", {})), get(MAPS + "/a"), apply(MAPS + "/a", cm("a"), "two"), get(MAPS + "/a"), apply(APPS + "deployments/d", deployment("d", replicas=0, paused=True)), apply(APPS + "deployments/d", deployment("d", replicas=0), "two"), apply(APPS + "deployments/d", deployment("d")), apply(APPS + "deployments/d", {**deployment("d"), "metadata": {"name": "d", "labels": {"a": "1"}}}), apply(APPS + "deployments/d", deployment("d")), apply(MAPS + "/f", cm("f", finalizers=["a.b/c"])), apply(MAPS + "/f", cm("f", finalizers=["a.b/d"]), "two"), apply(MAPS + "/f", cm("f")), apply(MAPS + "/f", cm("f"), "two"))

# Defaults of built-in kinds.
job = {"spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}
full = {"spec": {"automountServiceAccountToken": False, "containers": [{"name": "c", "image": "repo/i:latest", "ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": 80}}, "resources": {"limits": {"memory": "1048576Ki", "cpu": "1000m"}}, "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}, {"name": "d", "image": "i@sha256:" + "a" * 64, "readinessProbe": {"tcpSocket": {"port": "http"}}}], "initContainers": [{"name": "e", "image": "i"}], "volumes": [{"name": "v"}, {"name": "w", "configMap": {"name": "x"}}, {"name": "y", "secret": {"secretName": "x"}}, {"name": "z", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}, {"name": "h", "hostPath": {"path": "/x"}}, {"name": "d", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}
N, A, D = "/apis/networking.k8s.io/v1/namespaces/{ns}/", "/apis/admissionregistration.k8s.io/v1/", "/apis/discovery.k8s.io/v1/namespaces/{ns}/"
hook = [{"name": "a.b.c", "clientConfig": {"service": {"namespace": "x", "name": "y"}}, "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [{"apiGroups": ["none.io"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothings"]}]}]
scenario("built-in defaults", *[post(base + "?dryRun=All", body) for base, body in [
    (PODS, obj("v1", "Pod", "full", full)), (APPS + "deployments", deployment("d")), (APPS + "statefulsets", obj("apps/v1", "StatefulSet", "s", {"spec": {"serviceName": "s", "selector": {"matchLabels": {"app": "x"}}, "template": template, "volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}})),
    (APPS + "daemonsets", obj("apps/v1", "DaemonSet", "s", {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template}})), (BATCH + "cronjobs", obj("batch/v1", "CronJob", "c", {"spec": {"schedule": "* * * * *", "jobTemplate": job}})), (SECRETS, obj("v1", "Secret", "s")), (SECRETS, obj("v1", "Secret", "s", {"data": {"a": "eA=="}, "stringData": {"a": "y"}})),
    ("/api/v1/namespaces/{ns}/persistentvolumeclaims", obj("v1", "PersistentVolumeClaim", "v", {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}})), ("/api/v1/namespaces/{ns}/endpoints", obj("v1", "Endpoints", "e", {"subsets": [{"addresses": [{"ip": "10.0.0.2"}, {"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]})),
    (D + "endpointslices", obj("discovery.k8s.io/v1", "EndpointSlice", "e", {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]})), (N + "networkpolicies", obj("networking.k8s.io/v1", "NetworkPolicy", "n", {"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}})), (N + "ingresses", obj("networking.k8s.io/v1", "Ingress", "i", {"spec": {"rules": [{"http": {"paths": [{"pathType": "Exact", "path": "/", "backend": {"service": {"name": "s", "port": {"name": "x"}}}}]}}]}})),
    ("/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers", obj("autoscaling/v2", "HorizontalPodAutoscaler", "h", {"spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}})), (budgets, obj("policy/v1", "PodDisruptionBudget", "p", {"spec": {"maxUnavailable": "50%"}})), ("/api/v1/namespaces/{ns}/resourcequotas", obj("v1", "ResourceQuota", "q", {"spec": {"hard": {"memory": "1048576Ki"}}})), ("/api/v1/namespaces/{ns}/limitranges", obj("v1", "LimitRange", "l", {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2000m"}}]}})),
    (RBAC + "namespaces/{ns}/roles", obj("rbac.authorization.k8s.io/v1", "Role", "r")), (RBAC + "namespaces/{ns}/rolebindings", obj("rbac.authorization.k8s.io/v1", "RoleBinding", "r", {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "x"}]})), (A + "validatingwebhookconfigurations", obj("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "corpus-w", {"webhooks": hook})), (A + "mutatingwebhookconfigurations", obj("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "corpus-w", {"webhooks": hook})),
    ("/api/v1/namespaces", obj("v1", "Namespace", "corpus-n")), ("/apis/scheduling.k8s.io/v1/priorityclasses", obj("scheduling.k8s.io/v1", "PriorityClass", "corpus-p", {"value": 3})), ("/apis/storage.k8s.io/v1/storageclasses", obj("storage.k8s.io/v1", "StorageClass", "corpus-s", {"provisioner": "x.y/z"})), (PODS, pod("little")), (APPS + "replicasets", obj("apps/v1", "ReplicaSet", "r", {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template}})), ("/api/v1/namespaces/{ns}/podtemplates", obj("v1", "PodTemplate", "t", {"template": template}))]])

# Forms of answers.
for base, body in [(MAPS, cm("a", {"k": "v"})), (THINGS, thing("a", {"size": 3, "tags": ["x", "y"]})), (PODS, pod("a")), (SERVICES, obj("v1", "Service", "a", {"spec": {"clusterIP": "None", "ports": [{"port": 80, "protocol": "UDP"}]}}))]:
    scenario("tables", post(base, body), get(base + "/a", accept=TABLE), get(base + "?fieldSelector=metadata.name%3Da", accept=TABLE), get(base + "/a?includeObject=None", accept=TABLE), get(base + "/a?includeObject=Object", accept=TABLE), get(base + "/a?includeObject=Bad", accept=TABLE), get(base + "/none", accept=TABLE), get(base + "?labelSelector=none", accept=TABLE), get(base + "/a", accept=TABLE.replace("v=v1", "v=v1beta1")), get(base + "/a", accept=TABLE.replace("v=v1", "v=v9")), merge(base + "/a", {"metadata": {"labels": {"a": "b"}}}, accept=TABLE))
for base, body in [(MAPS, cm("a", {"k": "v"})), (THINGS, thing("a", {"size": 3}))]:
    scenario("partial metadata", post(base, body), get(base + "/a", accept=PARTIAL), get(base + "?fieldSelector=metadata.name%3Da", accept=PARTIALS), get(base + "/a", accept=PARTIAL.replace("v=v1", "v=v1beta1")), get(base + "/a", accept=PARTIAL + ",application/json"), get(base + "/a", accept="application/json;as=Nonsense;v=v1;g=meta.k8s.io"), get(base + "/a", accept="application/json;as=Nonsense;v=v1;g=meta.k8s.io,application/json"), merge(base + "/a", {"metadata": {"labels": {"a": "b"}}}, accept=PARTIAL), delete(base + "/a", accept=PARTIAL))
scenario("partial metadata", *[get(MAPS, accept=accept) for accept in ["text/html", "application/*", "*/*", "application/json;q=0.1, */*", "application/xml", ""]])
scenario("discovery", *[get(path, keep="names") for path in ["/api", "/apis/apps", "/apis/batch", "/apis/" + GROUP, f"/apis/{GROUP}/v1", f"/apis/{GROUP}/v1alpha1", "/apis/none.io", "/apis/none.io/v1", "/apis/apps/v9", "/api/v2", "/apis/apps/v1/none", "/api/v1/none/x", "/apis/coordination.k8s.io", "/apis/discovery.k8s.io", "/apis/policy", "/apis/policy/v1", "/apis/scheduling.k8s.io/v1", "/apis/events.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1"]],
         get("/api", accept=AGGREGATED + ",application/json", keep="kind"), step("POST", "/apis", {}), step("PUT", "/version", {}), get("/apis/"), get("/api/v1/namespaces/{ns}/nodes"), get("/api/v1/pods/x"), step("PUT", MAPS, cm("a")), step("POST", MAPS + "/a", cm("a")), step("DELETE", "/api/v1/configmaps"), step("POST", "/api/v1/configmaps", cm("a")))
scenario("OpenAPI", *[get(path, keep="paths") for path in [f"/openapi/v3/apis/{GROUP}/v1", f"/openapi/v3/apis/{GROUP}/v1alpha1", "/openapi/v3/apis/none.io/v1", "/openapi/v3/api/v2", "/openapi/v3/none"]], *[get(f"/openapi/v3/{path}", keep="openapi") for path in ["apis/apps/v1", "api/v1", "apis/batch/v1", "apis/policy/v1", "apis/rbac.authorization.k8s.io/v1", "apis/coordination.k8s.io/v1", "apis/autoscaling/v2"]], step("POST", "/openapi/v3", {}))


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])
def field(n, value): return varint(n << 3) + varint(value) if isinstance(value, int) else varint(n << 3 | 2) + varint(len(value)) + value
def text(n, value): return field(n, value.encode())
def proto(version, kind, raw): return "base64:" + base64.b64encode(b"k8s\0" + field(1, text(1, version) + text(2, kind)) + field(2, raw)).decode()
def named(name, *labels): return field(1, text(1, name) + b"".join(field(11, text(1, k) + text(2, v)) for k, v in labels))
scenario("protobuf bodies", *[post(base, body, PROTO) for base, body in [
    (MAPS, proto("v1", "ConfigMap", named("a", ("l", "1")) + field(2, text(1, "k") + text(2, "v")) + field(3, text(1, "b") + field(2, b"\1\2")) + field(4, 1))), (SECRETS, proto("v1", "Secret", named("a") + field(2, text(1, "k") + field(2, b"v")) + text(3, "x.io/t") + field(4, text(1, "s") + text(2, "t")))), (ACCOUNTS, proto("v1", "ServiceAccount", named("a") + field(3, text(1, "pull")))),
    (LEASES, proto("coordination.k8s.io/v1", "Lease", named("a") + field(2, text(1, "me") + field(2, 15) + field(3, field(1, 1700000000) + field(2, 5000))))), (SERVICES, proto("v1", "Service", named("a") + field(2, field(1, text(1, "http") + field(3, 80) + field(4, field(1, 1) + text(3, "web"))) + text(3, "None")))), ("/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets", proto("policy/v1", "PodDisruptionBudget", named("a") + field(2, field(1, field(1, 0) + field(2, 1))))),
    (RBAC + "namespaces/{ns}/roles", proto("rbac.authorization.k8s.io/v1", "Role", named("a") + field(2, text(1, "get") + text(2, "") + text(3, "pods")))), (PODS, proto("v1", "Pod", named("a") + field(2, field(2, text(1, "c") + text(2, "i:1")) + field(21, 0)))), (MAPS, "base64:" + base64.b64encode(b"nonsense").decode()), (MAPS, proto("v1", "Secret", named("x"))), (MAPS, "base64:" + base64.b64encode(b"k8s\0\xff\xff").decode())]],
         put(MAPS + "/a", proto("v1", "ConfigMap", named("a") + field(4, 1)), PROTO), step("DELETE", SECRETS + "/a", proto("v1", "DeleteOptions", field(5, b"All")), PROTO), get(SECRETS + "/a"))

# Errors.
scenario("errors", post(MAPS, "{"), post(MAPS, "[]"), post(MAPS, '"x"'), post(MAPS, ""), post(MAPS, "null"), post(MAPS, {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}}), post(MAPS, {"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "x"}}), post(MAPS, {"metadata": {"name": "nokind"}}), post(THINGS, {"metadata": {"name": "nokind"}, "spec": {}}), post(THINGS, {"kind": "Thing", "metadata": {"name": "nover"}, "spec": {}}), post(THINGS, {"kind": "Other", "apiVersion": f"{GROUP}/v1", "metadata": {"name": "x"}}), post(MAPS, cm("a"), "text/plain"), post(MAPS, "kind: ConfigMap\napiVersion: v1\nmetadata: {name: y}\n", "application/yaml"), post(MAPS, "metadata: {name: yaml}\ndata: {a: 'b'}\n", "application/yaml"),
         post(MAPS, {**cm("x"), "metadata": {"name": 5}}), post(MAPS, {**cm("x"), "metadata": []}), post(MAPS, cm("x", namespace="other")), post("/api/v1/namespaces/none-such/configmaps", cm("x")), get("/api/v1/namespaces/none-such/configmaps"), get("/api/v1/namespaces/none-such/configmaps/a"), get(MAPS + "?labelSelector=a%20b%20c"), get(MAPS + "?fieldSelector=x"), get(MAPS + "?fieldSelector=data.k%3Dv"), get(THINGS + "?fieldSelector=spec.color%3Dred"), get(THINGS + "?fieldSelector=spec.size%3D1"), get(PODS + "?fieldSelector=spec.nodeName%3Dx"), get(MAPS + "/a/b/c"), get(MAPS + "/a/b"), step("DELETE", "/api/v1/namespaces"), step("OPTIONS", MAPS), post(MAPS, {**cm("big"), "data": {"k": "{big:1100000}"}}))

# Access, as someone else.
as_user = lambda steps: [{**each, "as": "corpus-user"} for each in steps]
scenario("access", *as_user([get(MAPS), get(MAPS + "/a"), post(MAPS, cm("a")), delete(MAPS), merge(MAPS + "/a", {}), get("/api/v1/nodes"), get("/apis/none.io/v1/things/x/status"), get("/metrics"), get("/version", keep="kind"), get(MAPS + "?watch=true")]),
         post(RBAC + "namespaces/{ns}/roles", obj("rbac.authorization.k8s.io/v1", "Role", "r", {"rules": [{"apiGroups": ["", "rbac.authorization.k8s.io"], "resources": ["configmaps", "roles", "rolebindings"], "verbs": ["get", "list", "create", "patch"]}]})),
         post(RBAC + "namespaces/{ns}/rolebindings", obj("rbac.authorization.k8s.io/v1", "RoleBinding", "b", {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "corpus-user", "apiGroup": "rbac.authorization.k8s.io"}]})),
         {**get(MAPS + "/a"), "as": "corpus-user", "until": 404}, *as_user([post(MAPS, cm("a")), put(MAPS + "/a", cm("a")), delete(MAPS + "/a"), get(SECRETS), post(RBAC + "namespaces/{ns}/roles", obj("rbac.authorization.k8s.io/v1", "Role", "q", {"rules": [{"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "delete"]}]})), post(RBAC + "namespaces/{ns}/rolebindings", obj("rbac.authorization.k8s.io/v1", "RoleBinding", "c", {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "none"}})),
            post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {"resourceAttributes": {"namespace": "{ns}", "verb": "get", "resource": "configmaps"}}}), post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {"resourceAttributes": {"namespace": "{ns}", "verb": "get", "resource": "secrets"}}}), post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {}), post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {"user": "x"}})]))

# Admission: policies and webhooks, each for the scenario's own namespace only. Nothing deletes a policy:
# the real server then never finds parameters of that kind again.
ADMISSION = "/apis/admissionregistration.k8s.io/v1/"
POLICIES, BINDINGS = ADMISSION + "validatingadmissionpolicies", ADMISSION + "validatingadmissionpolicybindings"
VALIDATING, MUTATING = ADMISSION + "validatingwebhookconfigurations", ADMISSION + "mutatingwebhookconfigurations"
HERE = {"matchLabels": {"kubernetes.io/metadata.name": "{ns}"}}
def rule(operations=("CREATE", "UPDATE"), resources=("configmaps",), groups=("",), versions=("v1",), **more): return {"apiGroups": list(groups), "apiVersions": list(versions), "operations": list(operations), "resources": list(resources), **more}
def policy(validations, rules=None, name="corpus-{id}", **spec):
    return post(POLICIES, obj("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", name, {"spec": {"matchConstraints": {"resourceRules": rules or [rule()]}, "validations": [each if isinstance(each, dict) else {"expression": each} for each in validations], **spec}}))
def binding(actions=("Deny",), name="corpus-{id}", of="corpus-{id}", **spec):
    return post(BINDINGS, obj("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", name, {"spec": {"policyName": of, "validationActions": list(actions), "matchResources": {"namespaceSelector": HERE}, **spec}}))
def webhook(name="hook.corpus.example.com", **more):
    return {"name": name, "clientConfig": {"url": "https://127.0.0.1:1/hook"}, "rules": [rule()], "sideEffects": "None", "admissionReviewVersions": ["v1"], "namespaceSelector": HERE, **more}
def webhooks(base, kind, *hooks, name="corpus-{id}"): return post(base, obj("admissionregistration.k8s.io/v1", kind, name, {"webhooks": list(hooks)}))
def waiting(code, name="waits"): return post(MAPS + "?dryRun=All", cm(name, {"wait": "1"}), until=code)
DRY = MAPS + "?dryRun=All"

scenario("admission",
         policy([{"expression": "!has(object.data) || !('wait' in object.data)", "message": "waiting is over"},
                 {"expression": "!has(object.data) || !has(object.data.count) || int(object.data.count) <= 5", "messageExpression": "'count is ' + object.data.count + ', above 5'"},
                 {"expression": "object.metadata.name != 'forbidden'", "message": "not this name", "reason": "Forbidden"},
                 {"expression": "!has(object.data) || !has(object.data.large)", "reason": "RequestEntityTooLarge"},
                 "oldObject == null || !has(oldObject.data) || !has(oldObject.data.frozen) || oldObject.data.frozen == object.data.frozen"]),
         binding(), waiting(422), post(MAPS, cm("a", {"count": "5", "frozen": "yes"})), post(MAPS, cm("b", {"count": "6"})), post(MAPS, cm("b", {"count": "six"})),
         post(MAPS, cm("forbidden")), post(MAPS, cm("b", {"large": "x"})), post(MAPS, cm("forbidden", {"count": "9"})), merge(MAPS + "/a", {"data": {"frozen": "no"}}), merge(MAPS + "/a", {"data": {"count": "7"}}),
         apply(MAPS + "/c", cm("c", {"count": "8"})), apply(MAPS + "/c", cm("c", {"count": "1"})), put(MAPS + "/c", cm("c", {"count": "9"})), jsonp(MAPS + "/c", [{"op": "replace", "path": "/data/count", "value": "10"}]),
         post(DRY, {"metadata": {"generateName": "forbidden-"}, "data": {"count": "2"}}), post(SECRETS, secret("forbidden")), delete(MAPS + "/a"))
scenario("admission",
         policy(["!(request.operation == 'CREATE' && object.metadata.name == 'waits')", "request.operation != 'DELETE' || oldObject.metadata.name != 'kept'", "request.namespace == namespaceObject.metadata.name", "request.name == 'x' || !has(request.subResource) || request.subResource == ''",
                 "request.kind.kind != 'ConfigMap' || request.resource.resource == 'configmaps'", "request.userInfo.username != 'corpus-nobody'", "request.dryRun || object == null || !has(object.data) || !has(object.data.dry)",
                 {"expression": "variables.size < 3 && variables.twice < 5", "messageExpression": "'size is ' + string(variables.size)"}],
                [rule(("*",))], variables=[{"name": "size", "expression": "object != null && has(object.data) ? size(object.data) : 0"}, {"name": "twice", "expression": "variables.size * 2"}], matchConditions=[{"name": "not-free", "expression": "request.name != 'free'"}]),
         binding(), waiting(422), post(MAPS, cm("kept")), delete(MAPS + "/kept"), post(MAPS, cm("a", {"1": "1", "2": "2", "3": "3"})), post(MAPS, cm("free", {"1": "1", "2": "2", "3": "3"})), post(MAPS, cm("a", {"dry": "x"})), post(DRY, cm("a", {"dry": "x"})),
         post(MAPS, cm("a")), delete(MAPS), delete(MAPS + "/a"))
scenario("admission parameters", post(MAPS, cm("limits", {"most": "3"}, labels={"role": "limit"})),
         policy([{"expression": "!has(object.data) || !has(object.data.n) || int(object.data.n) <= int(params.data.most)", "messageExpression": "'more than ' + params.data.most"}, "!has(object.metadata.labels) || !('deny' in object.metadata.labels)"], paramKind={"apiVersion": "v1", "kind": "ConfigMap"}, matchConditions=[{"name": "no-limit", "expression": "!object.metadata.name.startsWith('limit')"}]),
         binding(paramRef={"name": "limits", "parameterNotFoundAction": "Deny"}), post(DRY, cm("x", {"n": "4"}), until=422), post(DRY, cm("x", {"n": "3"})), post(DRY, cm("x", {"n": "y"})),
         binding(name="corpus-{id}-b", paramRef={"selector": {"matchLabels": {"role": "none"}}, "parameterNotFoundAction": "Deny"}, matchResources={"namespaceSelector": HERE, "objectSelector": {"matchLabels": {"which": "b"}}}),
         post(DRY, cm("x", {"n": "1"}, labels={"which": "b"}), until=422), post(DRY, cm("x", {"n": "1"}, labels={"which": "c"})), delete(MAPS + "/limits"), post(DRY, cm("x", {"n": "1"}), until=422))
scenario("admission parameters",
         policy([{"expression": "object.metadata.name != 'w'", "message": "a warning"}, "object.data.missing == 'x'"], name="corpus-{id}-warn", failurePolicy="Ignore"), binding(("Warn", "Audit"), name="corpus-{id}-warn", of="corpus-{id}-warn"),
         policy(["object.data.missing == 'x'"], [rule(resources=["secrets"])], name="corpus-{id}-fail"), binding(name="corpus-{id}-fail", of="corpus-{id}-fail"),
         policy(["object.data.missing == 'x'"], [rule(resources=["serviceaccounts"])], name="corpus-{id}-ignore", failurePolicy="Ignore"), binding(name="corpus-{id}-ignore", of="corpus-{id}-ignore"),
         policy(["false"], [rule(("UPDATE",), ("things/status", "things/scale"), (GROUP,))], name="corpus-{id}-status"), binding(name="corpus-{id}-status", of="corpus-{id}-status"),
         policy(["false"], [rule(("CREATE",), ("things",), (GROUP,), ("v1alpha1",))], name="corpus-{id}-old"), binding(name="corpus-{id}-old", of="corpus-{id}-old"),
         post(SECRETS + "?dryRun=All", secret("waits"), until=422), post(THINGS + "?dryRun=All", thing("waits", {}), until=422), post(OLD + "?dryRun=All", thing("waits", {}, "v1alpha1"), until=422), post(MAPS, cm("w")), post(ACCOUNTS, obj("v1", "ServiceAccount", "a")), post(SECRETS, {**secret("a"), "data": {"missing": "eA=="}}))
bad = ["foo", "1 + 'a'", "'abc'", "1", "object", "request.foo == 'x'", "request.kind.foo == ''", "namespaceObject.metadata.x == ''", "params.x == 1", "object.size()", "variables.y == 1", "request.name == 1", "!request.name", "nope(1) == 1", "true ? 1 : 'a'", "'a' in [1]", "  ", "request.name.startsWith(1)"]
scenario("admission configurations", *[policy([each], name="corpus-bad") for each in bad])
scenario("admission configurations", policy([], name="corpus-bad"), policy([{"expression": "true", "reason": "Never"}], name="corpus-bad"), policy([{"expression": "true", "message": "a\nb"}], name="corpus-bad"), policy(["true"], [{"apiGroups": [""]}], name="corpus-bad"), policy(["true"], name="corpus-bad", failurePolicy="Perhaps"), policy(["true"], name="corpus-bad", matchConditions=[{"name": "a", "expression": "1"}, {"name": "a", "expression": "true"}]),
         policy(["true"], name="corpus-bad", variables=[{"name": "a-b", "expression": "1"}, {"name": "c", "expression": "foo"}]), policy(["true"], name="corpus-bad", paramKind={"kind": "X"}), policy([{"expression": "true", "messageExpression": "1"}], name="corpus-bad"), binding((), name="corpus-bad"), binding(("Deny", "Warn"), name="corpus-bad"), binding(("Shout",), name="corpus-bad"), binding(name="corpus-bad", of=""), binding(name="corpus-bad", paramRef={"name": "a", "selector": {}, "parameterNotFoundAction": "Deny"}),
         webhooks(VALIDATING, "ValidatingWebhookConfiguration", webhook("short"), name="corpus-bad"), webhooks(VALIDATING, "ValidatingWebhookConfiguration", webhook(sideEffects="Some"), name="corpus-bad"), webhooks(VALIDATING, "ValidatingWebhookConfiguration", webhook(timeoutSeconds=31), name="corpus-bad"), webhooks(VALIDATING, "ValidatingWebhookConfiguration", webhook(clientConfig={"url": "http://a.b"}), name="corpus-bad"),
         webhooks(VALIDATING, "ValidatingWebhookConfiguration", webhook(clientConfig={}), name="corpus-bad"), webhooks(MUTATING, "MutatingWebhookConfiguration", webhook(), webhook(), name="corpus-bad"), webhooks(MUTATING, "MutatingWebhookConfiguration", webhook(admissionReviewVersions=["v7"]), name="corpus-bad"), webhooks(MUTATING, "MutatingWebhookConfiguration", webhook(reinvocationPolicy="Often", rules=[rule(("READ",))]), name="corpus-bad"))
hooked = [webhook(rules=[rule()]), webhook("some.corpus.example.com", rules=[rule(("DELETE",))], failurePolicy="Ignore"), webhook("service.corpus.example.com", clientConfig={"service": {"namespace": "{ns}", "name": "none"}}, rules=[rule(resources=["secrets"])]), webhook("condition.corpus.example.com", rules=[rule(resources=["serviceaccounts"])], matchConditions=[{"name": "one", "expression": "object.metadata.name == 'called'"}, {"name": "two", "expression": "object.metadata.labels.a == 'b'"}])]
for base, kind in [(VALIDATING, "ValidatingWebhookConfiguration"), (MUTATING, "MutatingWebhookConfiguration")]:
    scenario("admission webhooks", post(MAPS, cm("a")), webhooks(base, kind, *hooked), waiting(500), post(MAPS, cm("b", {"x": "y"})), delete(MAPS + "/a"), post(SECRETS, secret("a")), post(ACCOUNTS, obj("v1", "ServiceAccount", "free", labels={"a": "b"})), post(ACCOUNTS, obj("v1", "ServiceAccount", "called")), post(ACCOUNTS, obj("v1", "ServiceAccount", "called", labels={"a": "b"})), step("DELETE", base + "/corpus-{id}"))

# Escalation: nobody grants or reads through others what they may not.
def known(steps, user="corpus-climber"): return [{**each, "as": user} for each in steps]
ROLES, CLUSTER_BINDINGS = RBAC + "clusterroles", RBAC + "clusterrolebindings"
def cluster_role(name, *rules, **more): return obj("rbac.authorization.k8s.io/v1", "ClusterRole", "corpus-{id}-" + name, {"rules": [{"apiGroups": groups, "resources": resources, "verbs": verbs} for groups, resources, verbs in rules]}, **more)
def bound(name, role, user="corpus-climber"): return obj("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "corpus-{id}-" + name, {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "corpus-{id}-" + role}, "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]})
every = ["get", "create", "update", "patch", "delete"]
scenario("escalation",
         post(ROLES, cluster_role("writer", (["rbac.authorization.k8s.io"], ["clusterroles", "clusterrolebindings", "roles", "rolebindings"], every), (["admissionregistration.k8s.io"], ["validatingadmissionpolicies", "validatingadmissionpolicybindings"], every), ([""], ["pods", "pods/exec", "pods/attach", "pods/portforward", "pods/log"], ["get"]))),
         post(ROLES, cluster_role("strong", ([""], ["secrets"], ["*"]))), post(CLUSTER_BINDINGS, bound("strong", "strong", "somebody")), post(CLUSTER_BINDINGS, bound("writer", "writer")),
         *known([{**get(ROLES + "/corpus-{id}-strong"), "until": 200}, merge(ROLES + "/corpus-{id}-strong", {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}}), merge(ROLES + "/corpus-{id}-strong", {"metadata": {"finalizers": ["x.io/hold"]}}), merge(ROLES + "/corpus-{id}-strong", {"metadata": {"finalizers": None}}),
                 post(ROLES, {**cluster_role("all"), "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}), post(CLUSTER_BINDINGS, bound("mine", "strong")), post(CLUSTER_BINDINGS, bound("other", "writer", "somebody")), merge(CLUSTER_BINDINGS + "/corpus-{id}-strong", {"metadata": {"labels": {"a": "b"}}}), post(CLUSTER_BINDINGS, bound("dangling", "none")),
                 post(RBAC + "namespaces/{ns}/rolebindings", obj("rbac.authorization.k8s.io/v1", "RoleBinding", "r", {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}, "subjects": []})),
                 policy(["true"], name="corpus-{id}-p", paramKind={"apiVersion": "v1", "kind": "Secret"}), policy(["true"], name="corpus-{id}-p", paramKind={"apiVersion": "none.io/v1", "kind": "Thing"}), binding(name="corpus-{id}-p", of="corpus-{id}-none", paramRef={"name": "a", "namespace": "kube-system", "parameterNotFoundAction": "Deny"}), binding(name="corpus-{id}-p", of="corpus-{id}-none", paramRef={"selector": {}, "parameterNotFoundAction": "Deny"}),
                 get(PODS + "/none/portforward"), get(PODS + "/none/exec?command=sh"), get(PODS + "/none/attach"), get(PODS + "/none/log"), step("POST", PODS + "/none/exec")]),
         post(ROLES, {**cluster_role("binder"), "rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"], "resourceNames": ["corpus-{id}-strong"]}, {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["escalate"], "resourceNames": ["corpus-{id}-writer"]}]}), post(CLUSTER_BINDINGS, bound("binder", "binder")),
         *known([{**post(CLUSTER_BINDINGS + "?dryRun=All", bound("mine", "strong")), "until": 201}, post(CLUSTER_BINDINGS, bound("mine", "binder")), post(ROLES + "?dryRun=All", cluster_role("new", ([""], ["secrets"], ["get"]))), jsonp(ROLES + "/corpus-{id}-writer?dryRun=All", [{"op": "add", "path": "/rules/-", "value": {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}}]),
                 post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "{ns}"}}, keep="kind"), post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {}})]))
