//! Members of a workload as one component: what crosses between them, and what each keeps.

use std::{collections::BTreeMap, sync::Arc};

use waft_ir::{FailureReason, LogSource};
use waft_runtime::{Compiled, GuestSpec, LogSink, Want};

use crate::support::{ENGINE, Lines, get, load, spec};

const IMPORT: &str = "example:greetings/greetings@1.0.0";
const EXPORT: &str = "example:greetings/greetings@1.2.0";

fn want(import: &str, export: &str) -> Want {
    Want {
        import: import.into(),
        from: 1,
        export: export.into(),
    }
}

async fn composed(wants: Vec<Want>) -> Result<Compiled, waft_ir::Failure> {
    let bytes = |name| std::fs::read(waft_guests::path(name)).unwrap().into();
    let parts = vec![
        ("front".to_owned(), bytes("greeted-p2"), wants),
        ("greeter".to_owned(), bytes("greeter-p2"), Vec::new()),
    ];
    ENGINE.compose(parts).await
}

fn with_greeting(greeting: &str) -> (GuestSpec, Arc<Lines>) {
    let (mut spec, lines) = spec();
    spec.environment = BTreeMap::from([("GREETING".into(), greeting.into())]);
    (spec, lines)
}

#[tokio::test]
async fn a_resource_crosses_and_each_member_keeps_its_own() {
    let compiled = composed(vec![want(IMPORT, EXPORT)]).await.unwrap();
    for (own, greeting) in [("mine", "Bonjour"), ("other", "Servus")] {
        let (front, front_lines) = with_greeting(own);
        let (greeter, greeter_lines) = with_greeting(greeting);
        let guest = ENGINE
            .link_composed(&compiled, front, vec![greeter])
            .await
            .unwrap();
        let told = get(&guest, "/Ada").await.unwrap();
        assert_eq!(told, format!("{greeting}, Ada!\n"));
        let told = get(&guest, "/?env").await.unwrap();
        assert_eq!(told, format!("GREETING={own}\n"));
        // Each member's lines are its own.
        let texts = |lines: &Lines| {
            let lines = lines.of(LogSource::Stdout).into_iter();
            lines.map(|(_, text)| text).collect::<Vec<_>>()
        };
        assert_eq!(texts(&front_lines), ["asked for a greeting"]);
        assert_eq!(texts(&greeter_lines), ["made a greeter"]);
    }
}

/// A log that has not taken so many lines.
struct Full(u64);

impl LogSink for Full {
    fn line(&self, _: LogSource, _: Option<&str>, _: &str) {}

    fn dropped(&self) -> u64 {
        self.0
    }
}

#[tokio::test]
async fn lines_that_any_member_lost_are_counted() {
    let compiled = composed(vec![want(IMPORT, EXPORT)]).await.unwrap();
    let [front, greeter] = [2, 3].map(|lost| {
        let (mut spec, _) = spec();
        spec.log = Arc::new(Full(lost));
        spec
    });
    let guest = ENGINE.link_composed(&compiled, front, vec![greeter]);
    assert_eq!(guest.await.unwrap().stats().log_lines_dropped, 5);
}

#[tokio::test]
async fn memory_is_limited_for_the_composed_instance() {
    let compiled = composed(vec![want(IMPORT, EXPORT)]).await.unwrap();
    let (mut front, _) = with_greeting("a");
    // Each member's memory begins with more than one MiB; together they don't fit.
    front.limits.memory_bytes = 2 << 20;
    let guest = ENGINE
        .link_composed(&compiled, front, vec![with_greeting("b").0])
        .await
        .unwrap();
    let error = get(&guest, "/Ada").await.unwrap_err();
    assert_eq!(error.reason(), "MemoryLimit");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_name() {
    // Members exist, their types differ.
    let wrong = composed(vec![want("wasi:http/types@0.2.12", EXPORT)]).await;
    let failure = wrong.err().unwrap();
    assert_eq!(failure.reason, FailureReason::LinkFailed);
    for part in ["`front`", "`greeter`", EXPORT] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
    let (spec, _) = spec();
    let alone = load("greeted-p2").await;
    let failure = ENGINE.check_imports(&alone, &spec, &[]).err().unwrap();
    assert_eq!(failure.reason, FailureReason::UnsupportedImport);
    assert!(failure.message.contains(IMPORT), "{}", failure.message);
    ENGINE
        .check_imports(&alone, &spec, &[want(IMPORT, EXPORT)])
        .unwrap();
}
