//! Host interfaces from manifest to guest: the examples of each, and what is said when a backend
//! is not there.

use std::{io::ErrorKind, net::TcpListener, path::Path};

use waft_servers::Server;

use crate::support::{
    eventually, http,
    kubectl::Kubectl,
    manifest,
    waft::{Up, Waft},
};

mod tls;

use tls::TlsServer;

#[test]
fn the_keyvalue_example_counts() {
    let waft = Waft::up(["examples/keyvalue"]);
    let add = || waft.get_ok("keyvalue.localhost", "/add?numbers&visits");
    assert_eq!((add(), add()), ("1".into(), "2".into()));
    assert_eq!(waft.get_ok("keyvalue.localhost", "/keys?numbers"), "visits");
}

/// Sends a request with a body, and gives status and text of the answer.
fn send(waft: &Waft, method: &str, host: &str, path: &str, body: &[u8]) -> (u16, String) {
    let answer = http::request(waft.http, method, host, path, &[], body).unwrap();
    (answer.status, answer.text())
}

#[test]
fn the_blobstore_example_keeps_objects_of_any_size_and_does_not_hold_them() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let up = Up::default().arg("examples/blobstore");
        up.data(&folder.path().join("data")).start()
    };
    let host = "blobstore.localhost";
    let waft = start();
    let send =
        |waft: &Waft, method: &str, path: &str, body: &[u8]| send(waft, method, host, path, body);
    let stored = || match send(&waft, "POST", "/notes/first", b"hello") {
        (200, text) if text == "5 bytes" => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually("the object is stored", stored);
    assert_eq!(waft.get_ok(host, "/notes/first"), "hello");
    assert_eq!(waft.get_ok(host, "/notes/first?1-3"), "ell");
    assert_eq!(waft.get_ok(host, "/notes"), "first");
    let missing = send(&waft, "GET", "/notes/second", b"");
    assert_eq!(missing, (400, "there is no object `second`".into()));

    let before = waft.resident_peak();
    let large: Vec<u8> = (0..96u32 << 20).map(|n| (n % 251) as u8).collect();
    let (status, text) = send(&waft, "POST", "/notes/large", &large);
    assert_eq!((status, text), (200, format!("{} bytes", large.len())));
    let found = waft.get(host, "/notes/large");
    assert!(found.body == large);
    let grown = waft.resident_peak().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more for {}", large.len());

    // As a crash does, right after the answer.
    send(&waft, "POST", "/notes/last", b"bye");
    waft.kill();
    let waft = start();
    assert_eq!(waft.get_ok(host, "/notes"), "first large last");
    assert_eq!(waft.get_ok(host, "/notes/last"), "bye");
    let (status, _) = send(&waft, "DELETE", "/notes", b"");
    assert_eq!(status, 200);
}

#[test]
fn the_messaging_example_asks_its_worker() {
    let waft = Waft::up(["examples/messaging"]);
    let ask = |target: &str| waft.get_ok("tasks.localhost", target);
    assert_eq!(ask("/ask?tasks.shout&hello"), "HELLO");
    assert_eq!(ask("/publish?tasks.shout&bye"), "published");
}

#[test]
fn the_config_example_answers_its_settings() {
    let waft = Waft::up(["examples/config"]);
    let settings = waft.get_ok("settings.localhost", "/");
    assert_eq!(settings, "color=green\nfarewell=Bye\ngreeting=Hello\n");
}

#[test]
fn the_logging_example_writes_a_line_at_each_level() {
    let waft = Waft::up(["examples/logging"]);
    assert_eq!(waft.get_ok("logger.localhost", "/?hello"), "logged\n");
    for level in ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL"] {
        waft.wait_for_line(&[&format!("logger/logger {level} [logger] hello")]);
    }
}

#[test]
fn the_secrets_example_compares_and_tells_nobody() {
    let waft = Waft::up(["examples/secrets"]);
    let get = |target: &str| waft.get_ok("secrets.localhost", target);
    assert_eq!(get("/check?token&swordfish"), "yes");
    assert_eq!(get("/check?token&open"), "no");
    assert_eq!(get("/check?key&open"), "SecretsError::NotFound");
    // Whoever may reveal it gets it, and nobody else: it stands in no line, argument or file.
    assert_eq!(get("/reveal?token"), "swordfish");
    assert!(!waft.output().contains("swordfish"));
    let places = [
        waft.data.clone(),
        format!("/proc/{}/cmdline", waft.pid()).into(),
    ];
    let found = std::process::Command::new("grep")
        .args(["-rlF", "swordfish"])
        .args(places)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    let Some(kubectl) = Kubectl::new(&waft) else {
        return;
    };
    let objects = "workloads,workloadreplicasets,workloaddeployments,pods,events,hosts";
    let shown = kubectl.ok(&["get", objects, "-o", "yaml", "-A"]);
    assert!(shown.contains("secretFrom") && !shown.contains("swordfish"));
    // Another value rolls the workload.
    kubectl.ok(&[
        "patch",
        "secret",
        "door",
        "-p",
        "{\"stringData\":{\"token\":\"sesame\"}}",
    ]);
    eventually("the new value is there", || match get("/reveal?token") {
        value if value == "sesame" => Ok(()),
        value => Err(value),
    });
}

#[test]
fn the_postgres_example_keeps_notes() {
    let Some(mut server) = Server::postgres() else {
        return;
    };
    let draft = format!("file:{}", waft_guests::path("postgres-p2").display());
    let entry = "        - {namespace: wasmcloud, package: postgres, interfaces: [query, prepared], \
                 version: 0.1.1-draft, config: {database: postgres}}\n      components:";
    let old = manifest::deployment("old", &draft).replace("      components:", entry);
    let elsewhere = old.replace("old", "elsewhere").replace(
        "{database: postgres}",
        "{url: \"postgres://user:hush@db.example/postgres\"}",
    );
    let without = old
        .replace("old", "without")
        .replace("{database: postgres}", "{}");
    let folder = tempfile::tempdir().unwrap();
    let waft = up(folder.path(), &[old, elsewhere, without])
        .arg("examples/postgres")
        .arg("--postgres")
        .arg(server.url())
        .start();
    let get = |target: &str| waft.get_ok("notes.localhost", target);
    assert_eq!(get("/add?milk"), "PgValue::Int8(1)\n");
    assert_eq!(get("/add?eggs"), "PgValue::Int8(2)\n");
    assert_eq!(get("/notes"), "milk\neggs\n");
    let rows = "id,n,nothing [[PgValue::Int4(5), PgValue::Numeric(\"1.50\"), PgValue::Null]]";
    let query =
        "/query?SELECT+$1::int+AS+id,+$2::numeric+AS+n,+$3::text+AS+nothing&i:5&d:1.50&null";
    assert_eq!(get(query), rows);
    let many = "SELECT+i+FROM+generate_series(1,50000)+i";
    assert_eq!(get(&format!("/count?{many}")), "50000");
    assert_eq!(get(&format!("/first?{many}")), "Some([PgValue::Int4(1)])");
    assert_eq!(
        get("/twice?INSERT+INTO+notes+(text)+VALUES+($1)&t:tea"),
        "1 1"
    );
    assert_eq!(get("/unknown"), "Error::UnknownPreparedStatement");
    assert!(get("/query?SELECT+nothing").contains("code: \"42703\""));
    assert!(get("/query?SELECT+$1::int&t:x").contains("Error::InvalidParams"));
    // The draft has the same database, and rows at once.
    let get_old = |target: &str| waft.get_ok("old.localhost", target);
    let found = get_old("/query?SELECT+id,+text+FROM+notes+WHERE+text=$1&milk");
    assert_eq!(found, "id=PgValue::Int8(1) text=PgValue::Text(\"milk\")");
    assert_eq!(get_old("/twice?DELETE+FROM+notes+WHERE+text=$1&tea"), "2 0");
    assert_eq!(
        get_old("/batch?CREATE+TABLE+t+(a+int);DROP+TABLE+t"),
        "done"
    );
    assert!(get_old("/query?SELEC").contains("QueryError::InvalidQuery(\"42601"));
    waft.wait_for_line(&["without", "names no `database`"]);
    // One whose `url` is of another server has this one, and its condition says so.
    let found = waft.get_ok("elsewhere.localhost", "/query?SELECT+count(*)+FROM+notes");
    assert_eq!(found, "count=PgValue::Int8(2)");
    if let Some(kubectl) = Kubectl::new(&waft) {
        let of = "workloaddeployment/elsewhere";
        let (reason, message) = kubectl.wait_condition(of, "Degraded", "True");
        assert_eq!(reason, "OtherServer", "{message}");
        assert!(message.contains("--postgres"), "{message}");
        assert!(!message.contains("hush"), "{message}");
    }
    server.kill();
    eventually("it is told", || match get("/notes") {
        said if said.contains("Error::ConnectionFailed") => Ok(()),
        said => Err(said),
    });
    server.restart();
    assert_eq!(get("/notes"), "milk\neggs\n");
}

#[test]
fn without_a_postgres_server_it_is_said_what_is_missing() {
    let waft = Up::default().arg("examples/postgres").spawn();
    waft.wait_for_line(&["BackendUnavailable", "--postgres"]);
}

#[test]
fn the_tls_example_connects_where_it_may() {
    let waft = Waft::up(["examples/tls"]);
    // Tests have no internet; what the guest says to a server is tested with the interface.
    let refused = waft.get_ok(
        "tls.localhost",
        "/one.one.one.one/10.0.0.1/443?HEAD+/+HTTP/1.0",
    );
    assert_eq!(refused, "not connected: ErrorCode::AccessDenied");
}

#[test]
fn a_component_shakes_hands_with_servers_whose_authority_is_known() {
    let Some(ip) = waft_servers::outward_address() else {
        return;
    };
    let known = TlsServer::start(ip, "known.test");
    let unknown = TlsServer::start(ip, "unknown.test");
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, &known.certificate).unwrap();
    let image = format!("file:{}", waft_guests::path("tls-p3").display());
    let resources = format!(
        "localResources: {{allowedHosts: [\"{ip}:{}\", \"{ip}:{}\"]}}",
        known.port, unknown.port
    );
    let entry = "        - {namespace: wasi, package: tls, version: 0.3.0-draft, interfaces: [types, \
                 client]}\n      components:";
    let client = manifest::deployment_with("client", &image, &resources)
        .replace("incoming-handler", "handler")
        .replace("      components:", entry);
    let waft = up(folder.path(), &[client])
        .arg("--outbound-ca")
        .arg(&authority)
        .start();
    let ask = |server: &TlsServer, name: &str| {
        waft.get_ok(
            "client.localhost",
            &format!("/{name}/{ip}/{}?hello", server.port),
        )
    };
    assert_eq!(ask(&known, "known.test"), "HELLO");
    for (server, name) in [(&unknown, "unknown.test"), (&known, "other.test")] {
        let refused = ask(server, name);
        let is_refused = refused.starts_with("no TLS: invalid peer certificate");
        assert!(is_refused, "{name}: {refused}");
    }
}

#[test]
fn the_volumes_example_reads_and_writes() {
    let waft = Waft::up(["examples/volumes"]);
    let get = |target: &str| waft.get_ok("volumes.localhost", target);
    assert_eq!(get("/read?/settings/greeting"), "hello from a ConfigMap");
    assert_eq!(get("/write?/scratch/a&1000"), "done");
    let grown = get("/size?/scratch/a&9000000");
    assert!(grown.starts_with("error StorageFull"), "{grown}");
}

#[test]
fn the_outbound_example_reaches_what_it_is_granted() {
    let waft = Waft::up(["examples/outbound"]);
    let get = |target: &str| waft.get_ok("outbound.localhost", target);
    // Itself, because tests have no internet.
    let answer = get("/?http://outbound.localhost/?http://other.example/");
    assert_eq!(answer, "200 ErrorCode::HttpRequestDenied");
}

/// A WorkloadDeployment that keeps values, with this `hostInterfaces` entry beside its name.
fn keeper(name: &str, entry: &str) -> String {
    let image = waft_guests::path("keyvalue-p2");
    let entries = format!(
        "        - {{namespace: wasi, package: keyvalue, interfaces: [store, atomics, batch], \
         {entry}}}\n      components:"
    );
    manifest::deployment(name, &format!("file:{}", image.display()))
        .replace("      components:", &entries)
}

/// `waft up` of these manifests, with the guests at hand.
fn up(folder: &Path, manifests: &[String]) -> Up {
    up_with(Up::default(), folder, manifests)
}

fn up_with(options: Up, folder: &Path, manifests: &[String]) -> Up {
    let file = folder.join("all.yaml");
    std::fs::write(&file, manifests.join("---\n")).unwrap();
    let guests = waft_guests::path("keyvalue-p2");
    options
        .arg(&file)
        .arg("--file-root")
        .arg(guests.parent().unwrap())
}

#[test]
fn what_is_kept_outlives_the_process_unless_it_is_said_to_be_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let all = [
        keeper("kept", "config: {}"),
        keeper("light", "config: {backend: in-memory}"),
    ];
    let start = || {
        up(folder.path(), &all)
            .data(&folder.path().join("data"))
            .start()
    };
    let add = |waft: &Waft, host: &str| waft.get_ok(host, "/add?numbers&visits");
    let waft = start();
    assert_eq!(add(&waft, "kept.localhost"), "1");
    assert_eq!(add(&waft, "light.localhost"), "1");
    // As a crash does, right after the answer.
    waft.kill();
    let waft = start();
    assert_eq!(add(&waft, "kept.localhost"), "2");
    assert_eq!(add(&waft, "light.localhost"), "1");
}

#[test]
fn entries_with_names_choose_among_backends() {
    let Some(mut redis) = Server::redis() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = "name: cache, config: {backend: redis, bucket: shared}},\n        \
                  {namespace: wasi, package: keyvalue, interfaces: [store, atomics], name: own, \
                  config: {backend: in-memory}";
    let config = config.replace("},\n        {", "}\n        - {");
    let other = keeper("other", "config: {backend: redis}");
    let all = [keeper("two", &config), other];
    let waft = up(folder.path(), &all)
        .arg("--redis")
        .arg(redis.url())
        .start();
    let get = |host: &str, target: &str| waft.get_ok(host, target);
    assert_eq!(get("two.localhost", "/add?cache&n"), "1");
    assert_eq!(get("two.localhost", "/add?own&n"), "1");
    assert_eq!(get("two.localhost", "/add?else&n"), "Error::NoSuchStore");
    // The same bucket, by its own name.
    assert_eq!(get("other.localhost", "/add?shared&n"), "2");
    redis.kill();
    let said = get("two.localhost", "/add?cache&n");
    assert!(said.contains("Redis does not answer"), "{said}");
    assert_eq!(get("two.localhost", "/add?own&n"), "2");
    redis.restart();
    eventually("Redis serves again", || {
        let found = get("two.localhost", "/get?cache&n");
        // The increment that was answered with an error may have been made.
        match found.as_str() {
            "2" | "3" => Ok(()),
            _ => Err(found),
        }
    });
}

#[test]
fn messages_and_values_go_through_nats_from_host_to_host() {
    let Some(mut nats) = Server::nats() else {
        return;
    };
    let example = waft_guests::workspace().join("examples/messaging");
    let text = std::fs::read_to_string(example.join("messaging.yaml")).unwrap();
    let text = text
        .replace(
            "subscriptions:",
            "backend: nats\n            subscriptions:",
        )
        .replace(
            "interfaces: [consumer]\n",
            "interfaces: [consumer]\n          config: {backend: nats}\n",
        )
        .replace(
            "image: file:",
            &format!("image: file:{}/", example.display()),
        );
    let (api, worker) = text.split_once("---\n").unwrap();
    let keeper = keeper("keeper", "config: {backend: nats}");
    let url = nats.url();
    let start = |manifests: &[String]| {
        let folder = tempfile::tempdir().unwrap();
        up(folder.path(), manifests)
            .arg("--file-root")
            .arg(&example)
            .arg("--nats")
            .arg(&url)
            .start()
    };
    let asking = start(&[api.into(), keeper.clone()]);
    // Nobody is there to subscribe with at first.
    nats.kill();
    let working = start(&[worker.into(), keeper]);
    nats.restart();
    let get = |target: &str| asking.get("tasks.localhost", target).text();
    let ask = || match get("/ask?tasks.shout&hello") {
        answer if answer == "HELLO" => Ok(()),
        answer => Err(answer),
    };
    eventually("the worker answers", ask);
    let add = |waft: &Waft| waft.get_ok("keeper.localhost", "/add?numbers&visits");
    assert_eq!((add(&asking), add(&working)), ("1".into(), "2".into()));
    nats.kill();
    eventually("it is told", || match get("/publish?tasks.shout&x") {
        said if said == "NATS does not answer" => Ok(()),
        said => Err(said),
    });
    nats.restart();
    eventually("the worker answers again", ask);
    assert_eq!(add(&working), "3");
}

#[test]
fn objects_go_through_nats_and_are_copied_between_backends() {
    if let Some(nats) = Server::nats() {
        objects_go_through("nats", Up::default().arg("--nats").arg(nats.url()));
    }
}

#[test]
fn objects_go_through_s3_whose_credentials_nobody_sees() {
    let Some(server) = Server::s3() else {
        return;
    };
    let (key, secret) = Server::S3_CREDENTIALS;
    let environment = [
        "env".to_owned(),
        format!("AWS_ACCESS_KEY_ID={key}"),
        format!("AWS_SECRET_ACCESS_KEY={secret}"),
    ];
    let up = Up::default().arg("--s3").arg(server.url());
    let waft = objects_go_through("s3", up.under(environment));
    let arguments = std::fs::read(format!("/proc/{}/cmdline", waft.pid())).unwrap();
    let arguments = String::from_utf8_lossy(&arguments).into_owned();
    let (_, output) = waft.interrupt();
    assert!(arguments.contains("--s3") && !arguments.contains(secret));
    assert!(!output.contains(secret), "{output}");

    let none = Up::default().arg("--s3").arg(server.url());
    let ended = none.under(["env", "-u", "AWS_ACCESS_KEY_ID"]).run();
    assert!(!ended.status.success());
    assert!(
        ended.stderr.contains("AWS_ACCESS_KEY_ID"),
        "{}",
        ended.stderr
    );
}

/// One workload writes by this backend and another one reads it, and copies to memory.
fn objects_go_through(backend: &str, options: Up) -> Waft {
    let folder = tempfile::tempdir().unwrap();
    let entry = |entry: &str| {
        format!(
            "        - {{namespace: wasi, package: blobstore, \
             interfaces: [blobstore, container, types], {entry}}}\n"
        )
    };
    let keeper = |name: &str, entries: &[&str]| {
        let image = format!("file:{}", waft_guests::path("blobstore-p2").display());
        let entries: String = entries.iter().map(|text| entry(text)).collect();
        let entries = format!("{entries}      components:");
        manifest::deployment(name, &image).replace("      components:", &entries)
    };
    let writes = format!("config: {{backend: {backend}, buckets: site}}");
    let reads =
        format!("name: pages, config: {{backend: {backend}, bucket: site, read_only: \"true\"}}");
    let all = [
        keeper("writer", &[&writes]),
        keeper(
            "reader",
            &[&reads, "name: own, config: {backend: in-memory}"],
        ),
    ];
    let waft = up_with(options, folder.path(), &all).start();
    let writer = |method: &str, path: &str| send(&waft, method, "writer.localhost", path, b"hello");
    let reader = |method: &str, path: &str| send(&waft, method, "reader.localhost", path, b"hello");
    eventually("it is stored", || match writer("POST", "/site/index") {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(waft.get_ok("reader.localhost", "/pages/index?1-3"), "ell");
    let (status, refused) = reader("POST", "/pages/index");
    assert!(
        status == 400 && refused.contains("`config.read_only`"),
        "{refused}"
    );
    assert_eq!(reader("POST", "/own/mine").0, 200);
    assert_eq!(reader("POST", "/pages/index?copy=own/index").0, 200);
    assert_eq!(waft.get_ok("reader.localhost", "/own"), "index mine");
    let (status, refused) = writer("POST", "/own/x");
    assert!(
        status == 400 && refused.contains("not granted"),
        "{refused}"
    );
    waft
}

#[test]
fn a_backend_that_is_not_there_is_said_and_an_unknown_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let all = [
        keeper("with-redis", "config: {backend: redis}"),
        keeper("with-key", "config: {colour: green}"),
        keeper("with-table", "config: {backend: table}"),
    ];
    let waft = up(folder.path(), &all).start();
    assert_eq!(waft.get_ok("with-redis.localhost", "/add?b&c"), "1");
    let Some(kubectl) = Kubectl::new(&waft) else {
        return;
    };
    let degraded = "jsonpath={.items[*].status.conditions[?(@.type==\"Degraded\")].reason}";
    // It serves before its status says so.
    eventually("it is degraded", || {
        let said = kubectl.ok(&["get", "workloads", "-o", degraded]);
        (said == "EmbeddedBackend").then_some(()).ok_or(said)
    });
    for (name, word) in [("with-key", "`colour`"), ("with-table", "`redis`")] {
        let object = format!("workloaddeployment/{name}");
        let (said, message) = kubectl.wait_condition(&object, "Ready", "False");
        assert_eq!(said, "InvalidSpec", "{name}: {message}");
        assert!(message.contains(word), "{name}: {message}");
    }
}

#[test]
fn what_no_host_offers_is_not_placed_and_nothing_is_pulled() {
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    registry.set_nonblocking(true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let entry = |entry: &str| format!("config: {{}}}}\n        - {{{entry}");
    let all = [
        keeper(
            "own",
            &entry("namespace: my, package: own, interfaces: [thing]"),
        ),
        keeper(
            "watch",
            &entry("namespace: wasi, package: logging, interfaces: [sirens], version: 0.1.0-draft"),
        ),
        keeper(
            "queries",
            &entry("namespace: wasi, package: sql, interfaces: [readwrite]"),
        ),
        format!(
            "\
apiVersion: control.cosmonic.io/v1alpha1
kind: HTTPTrigger
metadata: {{name: own-trigger}}
spec:
  template:
    spec:
      hostInterfaces:
        - {{namespace: my, package: own, interfaces: [thing]}}
      components:
        - {{name: http, image: \"{}/own:1\"}}
",
            registry.local_addr().unwrap()
        ),
    ];
    let waft = up(folder.path(), &all).start();
    let Some(kubectl) = Kubectl::new(&waft) else {
        return;
    };
    let condition = |name: &str, condition: &str, part: &str| {
        let label = format!("-lruntime.wasmcloud.dev/workload-deployment={name}");
        let path =
            format!("jsonpath={{.items[*].status.conditions[?(@.type==\"{condition}\")].{part}}}");
        kubectl.ok(&["get", "workloads", &label, "-o", &path])
    };
    for (name, interface) in [
        ("own", "`my:own/thing`"),
        (
            "watch",
            "`wasi:logging/sirens@0.1.0-draft`; offered are `wasi:logging/logging@",
        ),
    ] {
        eventually(name, || match condition(name, "HostSelection", "reason") {
            reason if reason == "NoMatchingHost" => Ok(()),
            other => Err(other),
        });
        let message = condition(name, "HostSelection", "message");
        assert!(message.contains(interface), "{message}");
        assert_eq!(
            condition(name, "Placement", "status").replace("Unknown", ""),
            ""
        );
    }
    let (reason, message) = kubectl.wait_condition("workloaddeployment/queries", "Ready", "False");
    assert_eq!(reason, "NotSupportedYet", "{message}");
    let (reason, message) = kubectl.wait_condition("httptrigger/own-trigger", "Ready", "False");
    assert_eq!(reason, "NoMatchingHost", "{message}");
    let asked = registry.accept().map_err(|error| error.kind());
    assert_eq!(asked.err(), Some(ErrorKind::WouldBlock), "it was asked");
}
