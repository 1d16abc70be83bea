#!/usr/bin/env python3
"""Fills in what a real kube-apiserver answers to the cases in recorded/*.json.

Usage: KUBECONFIG=… record.py [validation|definitions|apply|sequences|builtin|strategic]… The kubeconfig names its certificate files, as that of tests/env does.
The answers are committed; the Rust tests replay the cases offline.
"""
import json, os, pathlib, random, re, ssl, sys, time, urllib.error, urllib.request

HERE = pathlib.Path(__file__).parent / "recorded"
CONFIG = pathlib.Path(os.environ["KUBECONFIG"]).read_text()


def setting(name):
    return re.search(name + r': "?([^",}\s]+)', CONFIG).group(1)


SERVER = setting("server")
TLS = ssl.create_default_context(cafile=setting("certificate-authority"))
TLS.load_cert_chain(setting("client-certificate"), setting("client-key"))
GROUP = "recorded.waft.test"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACE = "recorded"


def call(method, path, body=None, content="application/json"):
    for _ in range(20):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(SERVER + path, data, {"Content-Type": content}, method=method)
        try:
            with urllib.request.urlopen(request, context=TLS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                text = error.read()
                return error.code, json.loads(text) if text.startswith(b"{") else {}
            time.sleep(0.5)
    raise SystemExit(f"{path}: never ready")


def definition(kind, schema):
    plural = kind.lower() + "s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced",
                 "names": {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": kind + "List"},
                 "versions": [{"name": "v1", "served": True, "storage": True,
                               "subresources": {"status": {}},
                               "schema": {"openAPIV3Schema": schema}}]},
    }


def install(kind, schema):
    body = definition(kind, schema)
    call("DELETE", f"{CRDS}/{body['metadata']['name']}")
    while call("GET", f"{CRDS}/{body['metadata']['name']}")[0] != 404:
        time.sleep(0.2)
    code, answer = call("POST", CRDS, body)
    if code != 201:
        raise SystemExit(json.dumps(answer, indent=1))
    path = f"/apis/{GROUP}/v1/namespaces/{NAMESPACE}/{kind.lower()}s"
    while call("GET", path)[0] != 200:
        time.sleep(0.3)
    time.sleep(3)
    return path


def thing(kind, name, rest):
    return {"apiVersion": f"{GROUP}/v1", "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE}, **rest}


def clean(code, answer):
    """An answer without what differs from run to run."""
    if answer.get("kind") == "Status":
        answer.get("details", {}).pop("uid", None)
        return {"code": code, "status": answer}
    times = {}
    meta = answer["metadata"]
    for entry in meta.get("managedFields", []):
        if "time" in entry:
            entry["time"] = "T"
    for key in ("uid", "resourceVersion", "creationTimestamp", "generation"):
        meta.pop(key, None)
    return {"code": code, "object": answer}


def validation(document):
    properties = {f"v{i}": case["schema"] for i, case in enumerate(document["cases"])}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    path = install("Checked", schema)
    for index, case in enumerate(document["cases"]):
        name, field = f"c{index}", f"v{index}"
        call("DELETE", f"{path}/{name}")
        body = thing("Checked", name, {"spec": {}})
        if "old" in case:
            body["spec"] = {field: case["old"]}
            code, old = call("POST", path, body)
            assert code == 201, old
            body = {**old, "spec": {}}
            if "value" in case:
                body["spec"] = {field: case["value"]}
            answer = call("PUT", f"{path}/{name}", body)
        else:
            body["spec"] = {field: case["value"]}
            answer = call("POST", path, body)
        answer = clean(*answer)
        if "object" in answer:
            answer["object"] = answer["object"]["spec"]
        else:
            answer["causes"] = answer.pop("status").get("details", {}).get("causes")
        case["answer"] = answer


def definitions(document):
    for case in document["cases"]:
        code, answer = call("POST", CRDS + "?dryRun=All", definition("Refused", case["schema"]))
        case["answer"] = {"code": code, "causes": answer.get("details", {}).get("causes", []) if code != 201 else []}


def apply(document):
    path = install("Owned", document["schema"])
    for index, case in enumerate(document["cases"]):
        name = f"o{index}"
        for step in case["steps"]:
            sub = "/" + step["subresource"] if "subresource" in step else ""
            query = f"?fieldManager={step['manager']}"
            url = f"{path}/{name}{sub}{query}"
            body = thing("Owned", name, step.get("body", {}))
            if step["verb"] == "apply":
                force = "&force=true" if step.get("force") else ""
                body["metadata"].update(step.get("metadata", {}))
                answer = call("PATCH", url + force, body, "application/apply-patch+yaml")
            elif step["verb"] == "create":
                body["metadata"].update(step.get("metadata", {}))
                answer = call("POST", path + query, body)
            else:
                answer = call("PATCH", url, {**step.get("body", {}), "metadata": step.get("metadata", {})},
                              "application/merge-patch+json")
            step["answer"] = clean(*answer)
            if step.get("pause"):
                time.sleep(1.1)


def invented(rng):
    """A configuration that the schema of apply.json allows: some fields, each with one of few values."""
    def some(chance, make, into, name):
        if rng.random() < chance:
            into[name] = make()

    def texts(names, chance):
        return {name: rng.choice("12") for name in names if rng.random() < chance}

    def port():
        made = {"containerPort": rng.choice([80, 81])}
        some(0.4, lambda: rng.choice(["TCP", "UDP"]), made, "protocol")
        some(0.4, lambda: rng.choice("pq"), made, "name")
        return made

    def keyed(items, *names):
        return list({tuple(item.get(name, "TCP") for name in names): item for item in items}.values())

    def container():
        made = {"name": rng.choice("abc")}
        some(0.6, lambda: rng.choice("12"), made, "image")
        some(0.3, lambda: texts("ef", 0.5), made, "env")
        some(0.4, lambda: keyed([port() for _ in range(rng.randint(0, 2))], "containerPort", "protocol"), made, "ports")
        return made

    spec = {}
    some(0.3, lambda: rng.choice([1, 2]), spec, "replicas")
    some(0.4, lambda: rng.choice("12"), spec, "image")
    some(0.1, lambda: rng.choice([7, 8]), spec, "def")
    some(0.2, lambda: texts("ab", 0.6), spec, "selector")
    some(0.4, lambda: texts("abc", 0.5), spec, "labels")
    some(0.2, lambda: {name: texts("ab", 0.5) for name in "xy" if rng.random() < 0.6}, spec, "maps")
    some(0.3, lambda: {**texts("ab", 0.5), **({"deep": texts("xy", 0.5)} if rng.random() < 0.5 else {})}, spec, "nested")
    some(0.2, lambda: [rng.choice("pq") for _ in range(rng.randint(0, 3))], spec, "args")
    some(0.3, lambda: rng.sample("rst", rng.randint(0, 3)), spec, "tags")
    some(0.2, lambda: {"k": rng.choice([1, [1], {"l": 1}])}, spec, "free")
    some(0.5, lambda: keyed([container() for _ in range(rng.randint(0, 3))], "name"), spec, "containers")
    metadata = {}
    some(0.3, lambda: texts("lm", 0.6), metadata, "labels")
    some(0.2, lambda: texts("an", 0.6), metadata, "annotations")
    return {"body": {"spec": spec}, **({"metadata": metadata} if metadata else {})}


def sequences(document):
    """Managers that apply and update what a generator makes up; without a file's cases, new ones."""
    if not document["cases"]:
        rng = random.Random(4)
        for _ in range(70):
            steps = []
            for number in range(rng.randint(4, 8)):
                step = {"verb": "apply", "manager": rng.choice(["one", "two", "three"]), **invented(rng)}
                if rng.random() < 0.4:
                    step["force"] = True
                if number and rng.random() < 0.2:
                    step = {"verb": "update", "manager": rng.choice(["hand", "one"]), **invented(rng)}
                elif not number and rng.random() < 0.3:
                    step = {"verb": "create", "manager": "hand", **invented(rng)}
                elif number and rng.random() < 0.15:
                    step["body"] = {}
                    step.pop("metadata", None)
                steps.append(step)
            document["cases"].append({"steps": steps})
    apply(document)
    for step in (step for case in document["cases"] for step in case["steps"]):
        if 'Invalid value: \\"null\\"' in json.dumps(step["answer"]):
            step["known"] = ("a map or list that lost its last item is null there, and refused; "
                             "ours takes the field away")


def builtin(document):
    for index, case in enumerate(document["cases"]):
        path = case["resource"].replace("NAMESPACE", NAMESPACE)
        name = f"b{index}"
        for step in case["steps"]:
            body = {**step["body"], "apiVersion": case["apiVersion"], "kind": case["kind"]}
            body["metadata"] = {**body.get("metadata", {}), "name": name, "namespace": NAMESPACE}
            query = f"?fieldManager={step['manager']}"
            if step["verb"] == "apply":
                answer = call("PATCH", f"{path}/{name}{query}", body, "application/apply-patch+yaml")
            elif step["verb"] == "create":
                answer = call("POST", path + query, body)
            else:
                answer = call("PATCH", f"{path}/{name}{query}", step["body"], "application/merge-patch+json")
            step["answer"] = clean(*answer)


def strategic(document):
    for index, case in enumerate(document["cases"]):
        resource, body = case["resource"], case["document"]
        body["metadata"] = {**body.get("metadata", {}), "name": f"s{index}", "namespace": NAMESPACE}
        path = resource.replace("NAMESPACE", NAMESPACE)
        call("DELETE", f"{path}/s{index}")
        code, before = call("POST", path, body)
        assert code == 201, before
        before["metadata"].pop("managedFields", None)
        case["before"] = clean(code, before)["object"]
        code, after = call("PATCH", f"{path}/s{index}", case["patch"], "application/strategic-merge-patch+json")
        if code == 200:
            after["metadata"].pop("managedFields", None)
        case["answer"] = clean(code, after)


def free(path):
    """Takes the cases' finalizers off, which nobody else would."""
    for item in call("GET", path)[1].get("items", []):
        call("PATCH", f"{path}/{item['metadata']['name']}", {"metadata": {"finalizers": None}},
             "application/merge-patch+json")


def main():
    free(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments")
    free(f"/apis/{GROUP}/v1/namespaces/{NAMESPACE}/owneds")
    call("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    while call("GET", f"/api/v1/namespaces/{NAMESPACE}")[0] != 404:
        time.sleep(0.5)
    call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for name, record in (("validation", validation), ("definitions", definitions), ("apply", apply),
                         ("sequences", sequences),
                         ("builtin", builtin), ("strategic", strategic)):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        file = HERE / f"{name}.json"
        document = json.loads(file.read_text())
        record(document)
        # A line for each case of what nobody writes by hand.
        text = json.dumps(document, indent=None if name == "sequences" else 1, ensure_ascii=False)
        file.write_text((text.replace('{"steps"', '\n{"steps"') if name == "sequences" else text) + "\n")


main()
