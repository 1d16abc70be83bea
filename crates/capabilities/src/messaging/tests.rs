use std::time::Duration;

use super::*;
use broker::{Broker, Reason};

pub(super) const NS: &str = "default";
/// Longer than a message takes.
pub(super) const LONG: Duration = Duration::from_secs(60);

fn wish(subjects: &str, group: Option<&str>, queue: u32) -> Subscribe {
    let mut entry = BTreeMap::from([("subscriptions".to_owned(), subjects.to_owned())]);
    entry.insert("consumer_group".into(), group.unwrap_or("broadcast").into());
    let settings = Settings::read(&BTreeMap::new(), &entry, "app/main", queue, &Arc::default());
    settings.unwrap().unwrap().wish
}

pub(super) fn message(subject: &str, body: &str) -> Message {
    Message {
        subject: subject.into(),
        body: body.into(),
        reply_to: None,
    }
}

pub(super) async fn body(subscription: &mut Box<dyn Subscription>) -> String {
    let next = tokio::time::timeout(LONG, subscription.next());
    let message = next.await.expect("no message came").unwrap();
    String::from_utf8(message.body).unwrap()
}

#[tokio::test]
async fn a_group_shares_messages_and_broadcast_gets_each() {
    let broker = Memory::default();
    let mut one = broker
        .subscribe(NS, wish("a.*", Some("g"), 9))
        .await
        .unwrap();
    let mut two = broker
        .subscribe(NS, wish("a.*", Some("g"), 9))
        .await
        .unwrap();
    let mut all = broker.subscribe(NS, wish("a.>", None, 9)).await.unwrap();
    let mut elsewhere = broker.subscribe("other", wish(">", None, 9)).await.unwrap();
    for text in ["1", "2"] {
        broker.publish(NS, message("a.b", text)).await.unwrap();
    }
    assert_eq!(body(&mut one).await, "1");
    assert_eq!(body(&mut two).await, "2");
    assert_eq!(body(&mut all).await, "1");
    assert_eq!(body(&mut all).await, "2");
    elsewhere.drain().await;
    assert_eq!(elsewhere.next().await, None);
}

#[tokio::test]
async fn a_full_queue_refuses_and_then_nobody_got_the_message() {
    let broker = Memory::default();
    let mut small = broker.subscribe(NS, wish("a", Some("s"), 1)).await.unwrap();
    let mut large = broker.subscribe(NS, wish("a", Some("l"), 9)).await.unwrap();
    broker.publish(NS, message("a", "1")).await.unwrap();
    let refused = broker.publish(NS, message("a", "2")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::QuotaExceeded);
    assert_eq!(body(&mut small).await, "1");
    broker.publish(NS, message("a", "3")).await.unwrap();
    assert_eq!(body(&mut large).await, "1");
    assert_eq!(body(&mut large).await, "3");
    let much = vec![0; LARGEST + 1];
    let large = Message {
        body: much,
        ..message("a", "")
    };
    let refused = broker.publish(NS, large).await.unwrap_err();
    assert_eq!(refused.reason, Reason::TooLarge);
}

#[tokio::test]
async fn who_leaves_last_finishes_the_queue() {
    let broker = Memory::default();
    let mut one = broker.subscribe(NS, wish("a", Some("g"), 9)).await.unwrap();
    let mut two = broker.subscribe(NS, wish("a", Some("g"), 9)).await.unwrap();
    for text in ["1", "2"] {
        broker.publish(NS, message("a", text)).await.unwrap();
    }
    one.drain().await;
    assert_eq!(one.next().await, None);
    two.drain().await;
    broker
        .publish(NS, message("a", "for nobody"))
        .await
        .unwrap();
    assert_eq!(body(&mut two).await, "1");
    assert_eq!(body(&mut two).await, "2");
    assert_eq!(two.next().await, None);
}

#[tokio::test]
async fn a_request_gets_its_answer_and_does_not_wait_for_ever() {
    let broker = Memory::default();
    let soon = Duration::from_millis(20);
    let nobody = broker.request(NS, message("a", "?"), soon).await;
    assert_eq!(nobody.unwrap_err().reason, Reason::Other);
    let mut taker = broker.subscribe(NS, wish("a", None, 9)).await.unwrap();
    let silence = broker.request(NS, message("a", "?"), soon).await;
    assert_eq!(silence.unwrap_err().reason, Reason::Timeout);
    taker.next().await.unwrap();
    let answering = async {
        let question = taker.next().await.unwrap();
        let to = question.reply_to.unwrap();
        broker
            .publish("other", message(&to, "not you"))
            .await
            .unwrap();
        broker.publish(NS, message(&to, "yes")).await.unwrap();
    };
    let asked = broker.request(NS, message("a", "?"), LONG);
    let (answer, ()) = tokio::join!(asked, answering);
    assert_eq!(answer.unwrap().body, b"yes");
}

#[test]
fn settings_are_checked() {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    };
    let read = |component: &[(&str, &str)], entry: &[(&str, &str)]| {
        Settings::read(&map(component), &map(entry), "app/main", 3, &Arc::default())
    };
    assert!(read(&[], &[]).unwrap().is_none());
    let both = read(
        &[("max_in_flight", "2")],
        &[
            ("subscriptions", "b, a,a"),
            ("max_in_flight", "1"),
            ("admission_wait", "1m 30s"),
        ],
    );
    let both = both.unwrap().unwrap();
    assert_eq!(both.wish.patterns.len(), 2);
    assert_eq!(both.wish.group.as_deref(), Some("wasmcloud/app/main"));
    assert_eq!(both.max_in_flight, Some(2));
    assert_eq!(both.admission_wait, Some(Duration::from_secs(90)));
    for (key, value) in [
        ("subscriptions", "a b"),
        ("subscriptions", "$SYS.>"),
        ("consumer_group", "a b"),
        ("max_in_flight", "0"),
        ("max_in_flight", "many"),
        ("admission_wait", "soon"),
        ("admission_wait", "-1s"),
    ] {
        let error = read(&[(key, value)], &[("subscriptions", "a")]).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}
