//! The server as `kube::Client` sees it in the same process.

mod support;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use support::{define_widgets, eventually, refusal, server, server_of_widgets, widget, widget_api};

fn config_map(name: &str, data: Value) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": data})).expect("a ConfigMap")
}

#[tokio::test]
async fn objects_are_created_read_changed_and_deleted() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let made = api
        .create(&PostParams::default(), &config_map("c", json!({"a": "1"})))
        .await
        .expect("created");
    assert!(made.uid().is_some_and(|uid| uid.len() == 36));
    assert!(made.creation_timestamp().is_some());
    assert_eq!(made.namespace().as_deref(), Some("default"));
    let twice = refusal(
        api.create(&PostParams::default(), &config_map("c", json!({})))
            .await,
    );
    assert_eq!(twice, (409, "configmaps \"c\" already exists".into()));

    let mut changed = made.clone();
    changed
        .data
        .get_or_insert_default()
        .insert("b".into(), "2".into());
    let changed = api
        .replace("c", &PostParams::default(), &changed)
        .await
        .expect("replaced");
    assert_ne!(changed.resource_version(), made.resource_version());
    assert_eq!(changed.uid(), made.uid());
    let stale = refusal(api.replace("c", &PostParams::default(), &made).await);
    assert_eq!(stale.0, 409);
    assert!(
        stale.1.contains("the object has been modified"),
        "{}",
        stale.1
    );

    let same = api
        .replace("c", &PostParams::default(), &changed)
        .await
        .expect("replaced by itself");
    assert_eq!(
        same.resource_version(),
        changed.resource_version(),
        "nothing changed, nothing is written"
    );

    let patch = json!({"data": {"a": null, "c": "3"}});
    let patched = api
        .patch("c", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("patched");
    assert_eq!(
        serde_json::to_value(&patched.data).expect("JSON"),
        json!({"b": "2", "c": "3"})
    );
    api.delete("c", &DeleteParams::default())
        .await
        .expect("deleted");
    assert_eq!(
        refusal(api.get("c").await),
        (404, "configmaps \"c\" not found".into())
    );
}

#[tokio::test]
async fn a_namespace_that_is_not_there_holds_nothing() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::namespaced(client, "nowhere");
    let refused = refusal(
        api.create(&PostParams::default(), &config_map("c", json!({})))
            .await,
    );
    assert_eq!(refused, (404, "namespaces \"nowhere\" not found".into()));
}

#[tokio::test]
async fn names_labels_and_types_are_checked() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let (code, message) = refusal(
        api.create(&PostParams::default(), &config_map("Not_A_Name", json!({})))
            .await,
    );
    assert_eq!(code, 422);
    assert!(
        message.contains("metadata.name: Invalid value: \"Not_A_Name\""),
        "{message}"
    );
    let generated: ConfigMap =
        serde_json::from_value(json!({"metadata": {"generateName": "g-"}})).expect("JSON");
    let generated = api
        .create(&PostParams::default(), &generated)
        .await
        .expect("created");
    assert!(
        generated.name_any().starts_with("g-") && generated.name_any().len() == 7,
        "{}",
        generated.name_any()
    );
    let wrong = http::Request::post("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/json")
        .body(br#"{"metadata": {"name": "x"}, "data": {"n": 1}}"#.to_vec())
        .expect("a request");
    assert_eq!(refusal(client.request::<Value>(wrong).await).0, 400);
}

#[tokio::test]
async fn lists_page_through_one_snapshot() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    for index in 0..5 {
        api.create(
            &PostParams::default(),
            &config_map(&format!("c{index}"), json!({})),
        )
        .await
        .expect("created");
    }
    let first = api
        .list(&ListParams::default().limit(2))
        .await
        .expect("a page");
    assert_eq!(first.items.len(), 2);
    assert_eq!(first.metadata.remaining_item_count, Some(3));
    // What happens now is not in the pages that follow.
    api.delete("c3", &DeleteParams::default())
        .await
        .expect("deleted");
    api.create(&PostParams::default(), &config_map("c9", json!({})))
        .await
        .expect("created");
    let token = first.metadata.continue_.clone().expect("more");
    let second = api
        .list(&ListParams::default().limit(2).continue_token(&token))
        .await
        .expect("a page");
    let token = second.metadata.continue_.clone().expect("more");
    let third = api
        .list(&ListParams::default().limit(2).continue_token(&token))
        .await
        .expect("a page");
    let names: Vec<_> = second
        .items
        .iter()
        .chain(&third.items)
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(names, ["c2", "c3", "c4"]);
    assert_eq!(
        third.metadata.resource_version,
        first.metadata.resource_version
    );
    assert_eq!(third.metadata.continue_, None);
    let labelled = api
        .list(&ListParams::default().labels("a in (b)"))
        .await
        .expect("a list");
    assert!(labelled.items.is_empty());
    let one = api
        .list(&ListParams::default().fields("metadata.name=c4"))
        .await
        .expect("a list");
    assert_eq!(one.items.len(), 1);
    assert_eq!(
        refusal(api.list(&ListParams::default().fields("spec.x=1")).await).0,
        400
    );
}

#[tokio::test]
async fn watches_tell_every_change_and_selectors_their_transitions() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let start = api
        .list(&ListParams::default())
        .await
        .expect("a list")
        .metadata
        .resource_version
        .expect("a version");
    let params = WatchParams::default().labels("on=yes");
    let events = api.watch(&params, &start).await.expect("a watch");
    let mut events = std::pin::pin!(events);
    api.create(&PostParams::default(), &config_map("c", json!({})))
        .await
        .expect("created");
    for label in ["yes", "no"] {
        let patch = json!({"metadata": {"labels": {"on": label}}});
        api.patch("c", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("patched");
    }
    let last = api.get("c").await.expect("there").resource_version();
    let added = events.try_next().await.expect("an event").expect("more");
    assert!(
        matches!(&added, WatchEvent::Added(map) if map.labels()["on"] == "yes"),
        "{added:?}"
    );
    let deleted = events.try_next().await.expect("an event").expect("more");
    let WatchEvent::Deleted(map) = deleted else {
        panic!("{deleted:?}")
    };
    assert_eq!(map.labels()["on"], "yes");
    assert_eq!(map.resource_version(), last);
}

#[tokio::test]
async fn a_version_that_is_gone_is_an_error_event() {
    let config = waft_apiserver::Config {
        history_bytes: 4096,
        ..Default::default()
    };
    let server = waft_apiserver::ApiServer::open(config)
        .await
        .expect("a server");
    let api: Api<ConfigMap> =
        Api::default_namespaced(kube::Client::new(server.service(), "default"));
    for index in 0..40 {
        api.create(
            &PostParams::default(),
            &config_map(&format!("c{index}"), json!({})),
        )
        .await
        .expect("created");
    }
    let events = api
        .watch(&WatchParams::default(), "1")
        .await
        .expect("a watch");
    let first = std::pin::pin!(events).next().await.expect("an event");
    let Ok(WatchEvent::Error(status)) = first else {
        panic!("{first:?}")
    };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
}

#[tokio::test]
async fn streaming_lists_end_with_a_bookmark() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &config_map("c", json!({})))
        .await
        .expect("created");
    let events = api
        .watch(&WatchParams::default().initial_events(), "0")
        .await
        .expect("a watch");
    let events: Vec<_> = events.take(2).try_collect().await.expect("events");
    assert!(matches!(&events[0], WatchEvent::Added(map) if map.name_any() == "c"));
    let WatchEvent::Bookmark(mark) = &events[1] else {
        panic!("{events:?}")
    };
    assert_eq!(
        mark.metadata.annotations["k8s.io/initial-events-end"],
        "true"
    );
}

#[tokio::test]
async fn custom_kinds_are_served_at_once_with_their_rules() {
    let (server, client) = server_of_widgets().await;
    define_widgets(&server).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = definitions
        .get("widgets.test.waft.dev")
        .await
        .expect("there");
    let conditions = definition
        .status
        .and_then(|status| status.conditions)
        .expect("conditions");
    assert!(
        conditions
            .iter()
            .any(|c| c.type_ == "Established" && c.status == "True")
    );

    let api = widget_api(&client);
    let made = api
        .create(
            &PostParams::default(),
            &widget("w", json!({"size": 3, "unknown": true})),
        )
        .await
        .expect("created");
    assert_eq!(
        made.data["spec"],
        json!({"size": 3, "color": "red"}),
        "pruned and defaulted"
    );
    assert_eq!(made.metadata.generation, Some(1));
    for (spec, expected) in [
        (
            json!({"size": 0}),
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (json!({"size": 200}), "size must stay below 100"),
        (json!({"size": "x"}), "spec.size: Invalid value: \"string\""),
    ] {
        let (code, message) = refusal(
            api.create(&PostParams::default(), &widget("bad", spec))
                .await,
        );
        assert_eq!(code, 422, "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let by_color = api
        .list(&ListParams::default().fields("spec.color=red"))
        .await
        .expect("a list");
    assert_eq!(by_color.items.len(), 1);
}

#[tokio::test]
async fn status_and_spec_do_not_touch_each_other() {
    let (_server, client) = server_of_widgets().await;
    let api = widget_api(&client);
    let mut object = widget("w", json!({"size": 1}));
    object.data["status"] = json!({"phase": "Made up"});
    let made = api
        .create(&PostParams::default(), &object)
        .await
        .expect("created");
    assert_eq!(made.data.get("status"), None);
    let patch = json!({"status": {"replicas": 2, "selector": "a=b"}, "spec": {"size": 50}});
    let patched = api
        .patch_status("w", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("patched");
    assert_eq!(
        (
            &patched.data["status"]["replicas"],
            &patched.data["spec"]["size"]
        ),
        (&json!(2), &json!(1))
    );
    assert_eq!(patched.metadata.generation, Some(1));
    let patch = json!({"status": {"replicas": 9}, "spec": {"size": 2}});
    let patched = api
        .patch("w", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("patched");
    assert_eq!(
        (
            &patched.data["status"]["replicas"],
            &patched.data["spec"]["size"]
        ),
        (&json!(2), &json!(2))
    );
    assert_eq!(patched.metadata.generation, Some(2));
    let patch = Patch::Merge(json!({"spec": {"replicas": 7}}));
    let scale = api
        .patch_scale("w", &PatchParams::default(), &patch)
        .await
        .expect("scaled");
    assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(7));
    let status = scale.status.expect("a status");
    assert_eq!(
        (status.replicas, status.selector.as_deref()),
        (2, Some("a=b"))
    );
    assert_eq!(
        api.get("w").await.expect("there").data["spec"]["replicas"],
        7
    );
}

#[tokio::test]
async fn server_side_apply_owns_fields() {
    let (_server, client) = server_of_widgets().await;
    let api = widget_api(&client);
    let apply = |manager: &str, spec: Value| {
        let (api, params) = (api.clone(), PatchParams::apply(manager));
        async move {
            api.patch("w", &params, &Patch::Apply(widget("w", spec)))
                .await
        }
    };
    let made = apply(
        "one",
        json!({"size": 1, "parts": [{"name": "a", "weight": 1}]}),
    )
    .await
    .expect("applied");
    apply("two", json!({"parts": [{"name": "b", "weight": 2}]}))
        .await
        .expect("applied");
    let (code, message) = refusal(apply("two", json!({"size": 5})).await);
    assert_eq!(code, 409);
    assert!(
        message.contains("conflict with \"one\": .spec.size"),
        "{message}"
    );
    let same = apply("two", json!({"parts": [{"name": "b", "weight": 2}]}))
        .await
        .expect("applied");
    let again = apply("two", json!({"parts": [{"name": "b", "weight": 2}]}))
        .await
        .expect("applied");
    assert_eq!(same.resource_version(), again.resource_version());
    assert_ne!(made.resource_version(), again.resource_version());
    // What one no longer wants goes; what two wants stays.
    let last = apply("one", json!({"size": 1})).await.expect("applied");
    assert_eq!(
        last.data["spec"]["parts"],
        json!([{"name": "b", "weight": 2}])
    );
    let params = PatchParams::apply("two").force();
    let forced = api
        .patch("w", &params, &Patch::Apply(widget("w", json!({"size": 5}))))
        .await
        .expect("forced");
    assert_eq!(forced.data["spec"]["size"], 5);
}

#[tokio::test]
async fn json_patches_that_fail_change_nothing() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &config_map("c", json!({"a": "1"})))
        .await
        .expect("created");
    let patch =
        |operations: Value| Patch::Json::<()>(serde_json::from_value(operations).expect("a patch"));
    let failing = patch(
        json!([{"op": "test", "path": "/data/a", "value": "2"}, {"op": "remove", "path": "/data/a"}]),
    );
    assert_eq!(
        refusal(api.patch("c", &PatchParams::default(), &failing).await).0,
        422
    );
    let working = patch(
        json!([{"op": "test", "path": "/data/a", "value": "1"}, {"op": "replace", "path": "/data/a", "value": "2"}]),
    );
    let patched = api
        .patch("c", &PatchParams::default(), &working)
        .await
        .expect("patched");
    assert_eq!(patched.data.expect("data")["a"], "2");
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let mut object = config_map("c", json!({}));
    object.metadata.finalizers = Some(vec!["test.waft.dev/hold".into()]);
    api.create(&PostParams::default(), &object)
        .await
        .expect("created");
    let deleted = api
        .delete("c", &DeleteParams::default())
        .await
        .expect("accepted");
    let held = deleted.left().expect("still there");
    assert!(held.metadata.deletion_timestamp.is_some());
    let add = json!({"metadata": {"finalizers": ["test.waft.dev/hold", "test.waft.dev/more"]}});
    assert_eq!(
        refusal(
            api.patch("c", &PatchParams::default(), &Patch::Merge(add))
                .await
        )
        .0,
        422
    );
    let (code, message) = refusal(
        api.create(&PostParams::default(), &config_map("c", json!({})))
            .await,
    );
    assert_eq!(code, 409);
    assert!(message.contains("object is being deleted"), "{message}");
    let version = held.resource_version().expect("a version");
    let events = api
        .watch(&WatchParams::default(), &version)
        .await
        .expect("a watch");
    let free = json!({"metadata": {"finalizers": null}});
    api.patch("c", &PatchParams::default(), &Patch::Merge(free))
        .await
        .expect("patched");
    assert_eq!(refusal(api.get("c").await).0, 404);
    let event = std::pin::pin!(events)
        .try_next()
        .await
        .expect("an event")
        .expect("more");
    let WatchEvent::Deleted(last) = event else {
        panic!("{event:?}")
    };
    assert_eq!(last.finalizers(), ["test.waft.dev/hold"]);
    assert_ne!(last.resource_version(), Some(version));
}

fn owned(name: &str, owner: &ConfigMap, block: bool) -> ConfigMap {
    let mut object = config_map(name, json!({}));
    let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid(), "blockOwnerDeletion": block}]);
    object.metadata.owner_references = serde_json::from_value(reference).expect("owners");
    object
}

#[tokio::test]
async fn dependents_follow_their_owner() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let post = PostParams::default();
    for (policy, stays) in [
        (DeleteParams::background(), false),
        (DeleteParams::foreground(), false),
        (DeleteParams::orphan(), true),
    ] {
        let owner = api
            .create(&post, &config_map("owner", json!({})))
            .await
            .expect("created");
        let child = api
            .create(&post, &owned("child", &owner, true))
            .await
            .expect("created");
        api.create(&post, &owned("grandchild", &child, true))
            .await
            .expect("created");
        api.delete("owner", &policy).await.expect("deleted");
        eventually("the owner goes", || async {
            api.get_opt("owner").await.expect("an answer").is_none()
        })
        .await;
        if stays {
            let child = api.get("child").await.expect("still there");
            assert!(child.owner_references().is_empty());
            api.delete("child", &DeleteParams::background())
                .await
                .expect("deleted");
        }
        eventually("all go", || async {
            api.list(&ListParams::default())
                .await
                .expect("a list")
                .items
                .is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn an_owner_that_never_was_owns_nothing_alive() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let post = PostParams::default();
    let alive = api
        .create(&post, &config_map("alive", json!({})))
        .await
        .expect("created");
    let mut dead = config_map("alive", json!({}));
    dead.metadata.uid = Some("00000000-0000-0000-0000-000000000000".into());
    api.create(&post, &owned("child", &dead, false))
        .await
        .expect("created");
    eventually("the child goes", || async {
        api.get_opt("child").await.expect("an answer").is_none()
    })
    .await;
    let mut both = owned("both", &dead, false);
    let second = owned("x", &alive, false)
        .metadata
        .owner_references
        .expect("one");
    both.metadata
        .owner_references
        .get_or_insert_default()
        .extend(second);
    api.create(&post, &both).await.expect("created");
    eventually("the dead owner is forgotten", || async {
        api.get("both")
            .await
            .expect("it stays")
            .owner_references()
            .len()
            == 1
    })
    .await;
}

#[tokio::test]
async fn a_namespace_takes_its_contents_with_it() {
    let (_server, client) = server().await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let space: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "space"}})).expect("JSON");
    let made = namespaces
        .create(&PostParams::default(), &space)
        .await
        .expect("created");
    assert_eq!(made.labels()["kubernetes.io/metadata.name"], "space");
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "space");
    let mut held = config_map("held", json!({}));
    held.metadata.finalizers = Some(vec!["test.waft.dev/hold".into()]);
    api.create(&PostParams::default(), &held)
        .await
        .expect("created");
    api.create(&PostParams::default(), &config_map("free", json!({})))
        .await
        .expect("created");
    namespaces
        .delete("space", &DeleteParams::default())
        .await
        .expect("accepted");
    eventually("what can go goes", || async {
        api.get_opt("free").await.expect("an answer").is_none()
    })
    .await;
    let terminating = namespaces.get("space").await.expect("still there");
    assert_eq!(
        terminating
            .status
            .and_then(|status| status.phase)
            .as_deref(),
        Some("Terminating")
    );
    assert_eq!(
        refusal(
            api.create(&PostParams::default(), &config_map("late", json!({})))
                .await
        )
        .0,
        403
    );
    let free = json!({"metadata": {"finalizers": null}});
    api.patch("held", &PatchParams::default(), &Patch::Merge(free))
        .await
        .expect("patched");
    eventually("the namespace goes", || async {
        namespaces
            .get_opt("space")
            .await
            .expect("an answer")
            .is_none()
    })
    .await;
}

#[tokio::test]
async fn a_definition_takes_its_objects_with_it() {
    let (server, client) = server_of_widgets().await;
    let api = widget_api(&client);
    api.create(&PostParams::default(), &widget("w", json!({})))
        .await
        .expect("created");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .delete("widgets.test.waft.dev", &DeleteParams::default())
        .await
        .expect("accepted");
    eventually("the definition goes", || async {
        definitions
            .get_opt("widgets.test.waft.dev")
            .await
            .expect("an answer")
            .is_none()
    })
    .await;
    assert_eq!(refusal(api.list(&ListParams::default()).await).0, 404);
    define_widgets(&server).await;
    assert!(
        api.list(&ListParams::default())
            .await
            .expect("a list")
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn events_are_the_same_in_both_groups() {
    let (_server, client) = server().await;
    let new: Api<k8s_openapi::api::events::v1::Event> = Api::default_namespaced(client.clone());
    let event = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "note": "it happened",
        "reason": "Test", "type": "Normal", "action": "Testing", "reportingController": "test", "reportingInstance": "t-0",
        "eventTime": "2026-01-01T00:00:00.000000Z"});
    new.create(
        &PostParams::default(),
        &serde_json::from_value(event).expect("JSON"),
    )
    .await
    .expect("created");
    let old: Api<Event> = Api::default_namespaced(client);
    let found = old
        .list(&ListParams::default().fields("involvedObject.name=p"))
        .await
        .expect("a list");
    assert_eq!(found.items[0].message.as_deref(), Some("it happened"));
    assert_eq!(
        new.get("e").await.expect("there").note.as_deref(),
        Some("it happened")
    );
}

#[tokio::test]
async fn secrets_leases_and_dry_runs() {
    let (_server, client) = server().await;
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    let secret =
        serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}}))
            .expect("JSON");
    let made = secrets
        .create(&PostParams::default(), &secret)
        .await
        .expect("created");
    assert_eq!(made.data.expect("data")["k"].0, b"v");
    assert_eq!(made.type_.as_deref(), Some("Opaque"));
    assert!(made.string_data.is_none());
    let leases: Api<Lease> = Api::default_namespaced(client.clone());
    let lease = serde_json::from_value(
        json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}),
    )
    .expect("JSON");
    leases
        .replace("l", &PostParams::default(), &lease)
        .await
        .expect("a PUT creates a lease");
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let shown = api
        .create(&dry, &config_map("c", json!({"a": "1"})))
        .await
        .expect("tried");
    assert!(shown.uid().is_some());
    assert_eq!(refusal(api.get("c").await).0, 404);
}

#[tokio::test]
async fn shutting_down_ends_watches() {
    let (server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let events = api
        .watch(&WatchParams::default(), "0")
        .await
        .expect("a watch");
    server.shut_down();
    assert_eq!(events.count().await, 0);
    assert_eq!(refusal(api.list(&ListParams::default()).await).0, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dependent_that_never_rests_is_collected_all_the_same() {
    let (_server, client) = server().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let owner = api
        .create(&PostParams::default(), &config_map("owner", json!({})))
        .await
        .expect("created");
    for round in 0..20 {
        let name = format!("child{round}");
        let mut gone = owner.clone();
        gone.metadata.uid = Some(format!("00000000-0000-0000-0000-{round:012}"));
        api.create(&PostParams::default(), &owned(&name, &gone, false))
            .await
            .expect("created");
        // Its status is written, again and again, while the collector looks at it.
        for number in 0.. {
            let patch = Patch::Merge(json!({"data": {"n": number.to_string()}}));
            match api.patch(&name, &PatchParams::default(), &patch).await {
                Ok(_) => assert!(number < 10_000, "{name} stays"),
                Err(kube::Error::Api(status)) if status.code == 404 => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
