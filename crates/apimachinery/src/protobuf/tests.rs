use serde_json::json;

use super::*;

/// Bytes of a field that carries bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![
        number << 3 | 2,
        u8::try_from(bytes.len()).expect("a short field"),
    ];
    out.extend_from_slice(bytes);
    out
}

fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
}

#[test]
fn kubectl_auth_can_i_as_it_was_recorded() {
    let recorded = b"k8s\x00\n2\n\x17authorization.k8s.io/v1\x12\x17SelfSubjectAccessReview\x12<\n\x10\n\x00\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x1e\n\x1c\n\x07default\x12\x03get\x1a\x00\"\x00*\x04pods2\x00:\x00\x1a\x08\x08\x00\x12\x00\x1a\x00 \x00\x1a\x00\"\x00";
    let decoded = decode(recorded).expect("an object");
    assert_eq!(decoded["apiVersion"], "authorization.k8s.io/v1");
    assert_eq!(decoded["kind"], "SelfSubjectAccessReview");
    let wanted =
        json!({"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}});
    assert_eq!(decoded["spec"], wanted);
    assert_eq!(decoded["metadata"], json!({}), "zero values are left out");
}

#[test]
fn maps_bytes_and_times() {
    let entry = [field(1, b"key"), field(2, b"\x00\xff")].concat();
    let name = field(1, b"s");
    let created = field(8, &[8, 100]);
    let raw = [
        field(1, &[name, created].concat()),
        field(2, &entry),
        field(3, b"Opaque"),
    ]
    .concat();
    let secret = decode(&envelope("v1", "Secret", &raw)).expect("an object");
    let wanted = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "s", "creationTimestamp": "1970-01-01T00:01:40Z"}, "data": {"key": "AP8="}, "type": "Opaque"});
    assert_eq!(secret, wanted);
}

#[test]
fn inlined_sources_and_either_or_values() {
    // Pod.spec.volumes[0].volumeSource.emptyDir, and a probe's port by number.
    let volume = [field(1, b"v"), field(2, &field(2, &[]))].concat();
    let get = field(2, &[vec![8, 0, 16, 80], field(3, b"")].concat());
    let probe = field(1, &field(2, &get));
    let container = [field(1, b"c"), field(10, &probe)].concat();
    let spec = field(2, &[field(1, &volume), field(2, &container)].concat());
    let pod = decode(&envelope("v1", "Pod", &spec)).expect("an object");
    assert_eq!(
        pod["spec"]["volumes"],
        json!([{"name": "v", "emptyDir": {}}])
    );
    assert_eq!(
        pod["spec"]["containers"][0]["livenessProbe"]["httpGet"]["port"],
        json!(80)
    );
}

#[test]
fn what_is_not_protobuf_is_refused() {
    let cut = &envelope("v1", "Secret", &field(1, b"x"))[..20];
    for body in [&b""[..], b"{}", b"k8s\0\xff\xff", cut] {
        decode(body).expect_err("a refusal");
    }
    let unknown = decode(&envelope("v1", "Gadget", b"")).expect_err("a refusal");
    assert!(unknown.contains("v1 Gadget"), "{unknown}");
}

#[test]
fn every_builtin_kind_that_is_stored_can_be_sent() {
    for resource in crate::registry::Registry::builtin().all() {
        if resource.group == "apiextensions.k8s.io" {
            continue;
        }
        let name = format!("{} {}", resource.api_version(), resource.kind);
        assert!(TABLE.kinds.contains_key(&name), "{name}");
    }
}
