use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn parse_at(text: &str) -> Result<Vec<Object>, ManifestError> {
    parse(text, "test.yaml", Path::new("/work dir/app"))
}

#[test]
fn arguments_are_told_apart() {
    assert_eq!(Source::parse("-"), Source::Stdin);
    assert_eq!(Source::parse("a/b.yaml"), Source::Path("a/b.yaml".into()));
    assert_eq!(Source::parse("c:d"), Source::Path("c:d".into()));
    assert!(matches!(
        Source::parse("https://example.com/a.yaml"),
        Source::Url(_)
    ));
}

#[test]
fn documents_and_lists_are_unfolded() {
    let objects = parse_at(
        "---\n# only a comment\n---\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n---\n\
         kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n",
    )
    .unwrap();
    let names: Vec<_> = objects.iter().map(|o| (o.kind(), o.name())).collect();
    assert_eq!(names, [("ConfigMap", "a"), ("Secret", "b")]);
}

#[test]
fn what_is_no_object_is_refused_by_document() {
    for (text, expected) in [
        (
            "kind: A\nmetadata: {name: x}\n",
            "document 1 has no apiVersion",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {}\n",
            "document 1 has no metadata.name",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: n}\n",
            "document 1 has a metadata.name that is no text: quote it",
        ),
        ("- a\n- b\n", "document 1 is not an object"),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: x}\n---\nhello\n",
            "document 2 is not",
        ),
        ("a: [\n", "does not parse"),
        (
            "a: 1\na: 2\n",
            "does not parse: duplicate mapping key: a not allowed here at line 2, column 1",
        ),
    ] {
        let message = parse_at(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
        assert!(message.starts_with("test.yaml: "), "{message}");
    }
}

#[test]
fn thousands_of_documents_come_in_one_stream() {
    let one = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    assert_eq!(parse_at(&one.repeat(3000)).unwrap().len(), 3000);
}

#[test]
fn brackets_without_end_do_not_fill_the_stack() {
    for deep in ["[".repeat(100_000), "{a: ".repeat(1000), "- ".repeat(1000)] {
        let message = parse_at(&deep).unwrap_err().to_string();
        assert!(message.contains("does not parse"), "{message}");
    }
}

#[test]
fn relative_image_paths_become_absolute() {
    let objects = parse_at(
        "apiVersion: a/v1\nkind: K\nmetadata: {name: m}\nspec:\n  components:\n  \
         - {name: a, image: 'file:./x/../hello.wasm'}\n  - {name: b, image: 'oci:layout'}\n  \
         - {name: c, image: 'file:/abs.wasm'}\n  - {name: d, image: 'registry.example/a:1'}\n",
    )
    .unwrap();
    let images: Vec<_> = objects[0].value["spec"]["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["image"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        images,
        [
            "file:/work dir/app/hello.wasm",
            "oci:/work dir/app/layout",
            "file:/abs.wasm",
            "registry.example/a:1"
        ]
    );
    assert_eq!(paths::image_paths(&objects[0].value).len(), 3);
}

#[tokio::test]
async fn a_folder_gives_its_manifests_and_a_component_a_deployment() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
    write(
        "b.yaml",
        "apiVersion: a/v1\nkind: WorkloadDeployment\nmetadata: {name: w}\n",
    );
    write(
        "c.yml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: m}\n",
    );
    write("My App_2.wasm", "");
    let all = load(&[Source::Path(root.clone())], Path::new("/"))
        .await
        .unwrap();
    let kinds: Vec<_> = all.objects.iter().map(Object::kind).collect();
    assert_eq!(kinds, ["Namespace", "WorkloadDeployment"]);
    assert_eq!(all.folders, std::slice::from_ref(&root));

    let bare = load(&[Source::Path("My App_2.wasm".into())], &root)
        .await
        .unwrap();
    assert_eq!(bare.objects[0].name(), "my-app-2");
    let host = "/spec/template/spec/hostInterfaces/0/config/host";
    assert_eq!(
        bare.objects[0].value.pointer(host).unwrap(),
        "my-app-2.localhost"
    );
    assert!(bare.files.contains(&root.join("My App_2.wasm")));

    let missing = load(&[Source::Path("nope.yaml".into())], &root)
        .await
        .unwrap_err();
    assert!(
        missing.to_string().contains("nope.yaml: No such file"),
        "{missing}"
    );
    std::fs::create_dir(root.join("empty")).unwrap();
    let empty = load(&[Source::Path("empty".into())], &root).await.unwrap();
    assert!(empty.files.contains(&root.join("empty")));
    let empty = empty.not_empty().unwrap_err();
    assert!(matches!(empty, ManifestError::Empty { .. }));
}

#[tokio::test]
async fn an_object_is_given_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("other")).unwrap();
    let map = |namespace: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a{namespace}}}\n---\n")
    };
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: a}";
    for (name, text) in [
        ("app.wasm", String::new()),
        ("other/app.wasm", String::new()),
        ("a_b.wasm", String::new()),
        ("a-b.wasm", String::new()),
        ("one.yaml", map("")),
        ("same.yaml", map(", namespace: default")),
        ("elsewhere.yaml", map(", namespace: b")),
        ("both.yaml", map("") + &map("")),
        ("role.yaml", role.into()),
        (
            "kind.yaml",
            "apiVersion: a.b/v1\nkind: Pot\nmetadata: {name: a}".into(),
        ),
    ] {
        std::fs::write(root.join(name), text).unwrap();
    }
    let given = async |paths: &[&str]| {
        let sources: Vec<_> = paths.iter().map(|p| Source::Path(p.into())).collect();
        let once = load(&sources, &root).await.unwrap().each_once("default");
        let said = once.map_or_else(|error| error.to_string(), |_| String::new());
        said.replace(&format!("{}/", root.display()), "")
    };
    assert_eq!(given(&["app.wasm", "a_b.wasm"]).await, "");
    assert_eq!(given(&["one.yaml", "elsewhere.yaml"]).await, "");
    for (paths, told) in [
        (
            &["app.wasm", "other/app.wasm"][..],
            "app.wasm and other/app.wasm: both would be WorkloadDeployment default/app",
        ),
        (
            &["a_b.wasm", "a-b.wasm"],
            "a_b.wasm and a-b.wasm: both would be WorkloadDeployment default/a-b",
        ),
        (
            &["one.yaml", "same.yaml"],
            "one.yaml and same.yaml: both would be ConfigMap default/a",
        ),
        (
            &["one.yaml", "one.yaml"],
            "one.yaml, twice: both would be ConfigMap default/a",
        ),
        (
            &["both.yaml"],
            "both.yaml, twice: both would be ConfigMap default/a",
        ),
        (
            &["role.yaml", "role.yaml"],
            "role.yaml, twice: both would be ClusterRole a",
        ),
        (
            &["kind.yaml", "kind.yaml"],
            "kind.yaml, twice: both would be Pot a",
        ),
    ] {
        assert_eq!(given(paths).await, told);
    }
}

#[tokio::test]
async fn what_is_no_text_is_no_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let given = async |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let read = load(&[Source::Path(name.into())], folder.path()).await;
        let objects = read.map(|manifests| manifests.objects);
        let object = objects.map(|objects| objects[0].name().to_owned());
        object.unwrap_or_else(|error| error.to_string())
    };
    assert_eq!(given("APP.WASM", b"\0asm").await, "app");
    let said = given("app.bin", b"\0asm\x0d\0\x01\0").await;
    let told = "app.bin: this is no manifest: it is WebAssembly, which";
    assert!(said.contains(told), "{said}");
    let said = given("app.yaml", b"\xff\xfe").await;
    assert!(
        said.ends_with("app.yaml: this is no manifest: it is no text"),
        "{said}"
    );
}

#[tokio::test]
async fn an_address_gives_no_more_than_a_manifest_may_have() {
    // The program does so at its start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A server that sends for ever.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/endless.yaml", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let request = connection.read(&mut [0; 4096]).await.unwrap();
        assert_ne!(request, 0);
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![b'#'; 1 << 20];
        let mut sent = 0_u64;
        while connection.write_all(&piece).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let error = load(&[Source::parse(&url)], Path::new("/"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("{url}: larger than 64 MiB"));
    // What lies between was not taken.
    let sent = serving.await.unwrap();
    assert!((64..128).contains(&sent), "{sent} MiB");
}
