use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::*;

fn basic(username: &str, password: &str) -> Credential {
    Credential::Basic {
        username: username.into(),
        password: password.into(),
    }
}

fn secret(config: &Value) -> Credentials {
    Credentials {
        docker_config_json: config.to_string(),
    }
}

fn find(config: &Value, host: &str, repository: &str) -> Credential {
    from_secret(&secret(config), host, repository)
        .unwrap()
        .credential
}

#[test]
fn every_form_of_an_entry_is_read() {
    let auth = STANDARD.encode("me:p:w");
    for (entry, expected) in [
        (json!({ "auth": auth }), basic("me", "p:w")),
        (
            json!({"username": "me", "password": "pw"}),
            basic("me", "pw"),
        ),
        (
            json!({"auth": auth, "identitytoken": "t"}),
            Credential::Identity("t".into()),
        ),
        (
            json!({"username": "<token>", "password": "t"}),
            Credential::Identity("t".into()),
        ),
        (
            json!({"registrytoken": "t"}),
            Credential::Bearer("t".into()),
        ),
        (json!({}), Credential::Anonymous),
    ] {
        let config = json!({"auths": {"r.io": entry}});
        assert_eq!(find(&config, "r.io", "a"), expected, "{config}");
    }
}

#[test]
fn the_closest_entry_counts() {
    let entry = |name: &str| json!({"username": name, "password": "x"});
    let config = json!({"auths": {
        "https://index.docker.io/v1/": entry("hub"),
        "https://r.io/v2/": entry("host"),
        "r.io/team": entry("team"),
        "*.azurecr.io": entry("any"),
        "one.azurecr.io": entry("one"),
        "127.0.0.1:5000": entry("port"),
    }});
    for (host, repository, expected) in [
        ("docker.io", "library/a", Some("hub")),
        ("r.io", "other/a", Some("host")),
        ("r.io", "team/a", Some("team")),
        ("r.io", "teamwork", Some("host")),
        ("two.azurecr.io", "a", Some("any")),
        ("one.azurecr.io", "a", Some("one")),
        ("a.b.azurecr.io", "a", None),
        ("127.0.0.1:5000", "a", Some("port")),
        ("127.0.0.1:5001", "a", None),
    ] {
        let expected = expected.map_or(Credential::Anonymous, |name| basic(name, "x"));
        assert_eq!(
            find(&config, host, repository),
            expected,
            "{host}/{repository}"
        );
    }
}

#[test]
fn a_damaged_secret_is_refused_without_being_quoted() {
    let texts = [
        "hunter2".to_owned(),
        json!({"auths": {"r.io": {"auth": "hunter2"}}}).to_string(),
        json!({"auths": {"r.io": "hunter2"}}).to_string(),
    ];
    for docker_config_json in texts {
        let secret = Credentials { docker_config_json };
        let failure = from_secret(&secret, "r.io", "a").unwrap_err();
        assert_eq!(failure.reason, FailureReason::ImagePullUnauthorized);
        assert!(!failure.message.contains("hunter2"), "{}", failure.message);
    }
    assert!(!format!("{:?}", basic("me", "hunter2")).contains("hunter2"));
}

#[test]
fn a_secret_never_names_a_program() {
    let config = json!({"credsStore": "evil", "credHelpers": {"r.io": "evil"}});
    assert_eq!(find(&config, "r.io", "a"), Credential::Anonymous);
}

/// Writes a configuration that names a helper by file, and the helper.
fn helper(dir: &Path, body: &str) -> std::path::PathBuf {
    let name = "waft-test";
    let program = dir.join(format!("docker-credential-{name}"));
    // By another process: a program that another test starts meanwhile would hold for a moment a file
    // that is written here, and what somebody may still write can't be run.
    let mut install = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = install.stdin.take().unwrap();
    input
        .write_all(format!("#!/bin/sh\n{body}\n").as_bytes())
        .unwrap();
    drop(input);
    assert!(install.wait().unwrap().success());
    program
}

#[tokio::test]
async fn the_users_configuration_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let source = DockerConfig::File(path.clone());
    let absent = from_user(&source, "r.io", "a").await;
    assert_eq!(absent.credential, Credential::Anonymous);
    assert!(absent.origin.contains("docker login r.io"));
    let config = json!({
        "auths": {"r.io": {"username": "me", "password": "pw"}},
        "credHelpers": {"h.io": "waft-no-such-helper", "p.io": "../evil"},
    });
    fs::write(&path, config.to_string()).unwrap();
    let found = from_user(&source, "r.io", "a").await;
    assert_eq!(found.credential, basic("me", "pw"));
    for (host, why) in [("h.io", "can't be run"), ("p.io", "is not the name")] {
        let found = from_user(&source, host, "a").await;
        assert_eq!(found.credential, Credential::Anonymous);
        assert!(found.origin.contains(why), "{}", found.origin);
    }
    fs::write(&path, "{").unwrap();
    let damaged = from_user(&source, "r.io", "a").await;
    assert!(damaged.origin.contains("can't be read"));
}

#[tokio::test]
async fn helpers_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    let run = async |body: &str| {
        let program = helper(dir.path(), body);
        helper::run(program.to_str().unwrap(), "r.io").await
    };
    let answer = r#"read -r server; echo "{\"Username\":\"$server\",\"Secret\":\"pw\"}""#;
    assert_eq!(run(answer).await, Ok(Some(basic("r.io", "pw"))));
    let token = r#"echo '{"Username":"<token>","Secret":"t"}'"#;
    let identity = Credential::Identity("t".into());
    assert_eq!(run(token).await, Ok(Some(identity)));
    let none = "echo credentials not found in native keychain; exit 1";
    assert_eq!(run(none).await, Ok(None));
    assert!(run("exit 3").await.is_err());
    assert!(run("echo hello").await.is_err());
}
