use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use waft_servers::Server;

use super::*;
use crate::{
    messaging::tests::{LONG, NS, body, message},
    returning::once_it_answers,
};

fn broker(server: &Server) -> NatsBroker {
    NatsBroker(Arc::new(Nats::new(&server.url()).unwrap()))
}

fn wish(subjects: &[&str], group: Option<&str>) -> Subscribe {
    Subscribe {
        patterns: subjects
            .iter()
            .map(|s| Pattern::parse(s).unwrap())
            .collect(),
        group: group.map(Into::into),
        // More than a test sends.
        queue: 100,
        lost: Arc::default(),
    }
}

/// What is left, in order.
async fn rest(mut subscription: Box<dyn Subscription>) -> Vec<String> {
    subscription.drain().await;
    let mut all = Vec::new();
    while let Some(message) = subscription.next().await {
        all.push(String::from_utf8(message.body).unwrap());
    }
    all
}

#[tokio::test]
async fn groups_share_and_namespaces_do_not() {
    let Some(server) = Server::nats() else {
        return;
    };
    let broker = broker(&server);
    let one = broker
        .subscribe(NS, wish(&["a.*"], Some("g")))
        .await
        .unwrap();
    let two = broker
        .subscribe(NS, wish(&["a.*"], Some("g")))
        .await
        .unwrap();
    // Two patterns take it in, and it comes once.
    let mut all = broker
        .subscribe(NS, wish(&["a.>", "a.b"], None))
        .await
        .unwrap();
    let elsewhere = broker
        .subscribe("other", wish(&[">"], Some("g")))
        .await
        .unwrap();
    for n in 0..20 {
        broker
            .publish(NS, message("a.b", &n.to_string()))
            .await
            .unwrap();
    }
    // The server takes connections in no order of theirs: before another one says something, it has
    // what this one said.
    caught_up(broker.0.client().await.unwrap()).await.unwrap();
    // From outside: it is for whoever takes the subject.
    let outside = async_nats::connect(server.url()).await.unwrap();
    outside.publish("a.b", "outside".into()).await.unwrap();
    // The server has given it to whoever subscribed, and those that end now miss nothing.
    caught_up(&outside).await.unwrap();
    for n in 0..20 {
        assert_eq!(body(&mut all).await, n.to_string());
    }
    assert_eq!(body(&mut all).await, "outside");
    let mut shared = rest(one).await;
    shared.extend(rest(two).await);
    shared.sort();
    shared.dedup();
    assert_eq!(shared.len(), 21);
    assert_eq!(rest(elsewhere).await, ["outside"]);
    assert!(rest(all).await.is_empty());
}

#[tokio::test]
async fn a_group_gets_a_message_once_however_many_patterns_take_it() {
    let Some(server) = Server::nats() else {
        return;
    };
    // Two hosts: one with two members of the group, one with a member that has other patterns.
    let (here, there) = (broker(&server), broker(&server));
    let patterns = ["tasks.*", "tasks.>", "tasks.shout"];
    let one = here
        .subscribe(NS, wish(&patterns, Some("g")))
        .await
        .unwrap();
    let two = here
        .subscribe(NS, wish(&patterns, Some("g")))
        .await
        .unwrap();
    let three = there
        .subscribe(NS, wish(&["*.shout", "tasks.shout"], Some("g")))
        .await
        .unwrap();
    let alone = there
        .subscribe(NS, wish(&patterns, Some("h")))
        .await
        .unwrap();
    let count = 20;
    for n in 0..count {
        let message = message("tasks.shout", &format!("{n:02}"));
        here.publish(NS, message).await.unwrap();
    }
    let expected: Vec<_> = (0..count).map(|n| format!("{n:02}")).collect();
    // The server has given all of them to whoever subscribed once this one is back.
    let mut last = there.subscribe(NS, wish(&["last"], None)).await.unwrap();
    here.publish(NS, message("last", "")).await.unwrap();
    last.next().await.unwrap();
    let mut shared = Vec::new();
    for member in [one, two, three] {
        shared.extend(rest(member).await);
    }
    shared.sort();
    assert_eq!(shared, expected);
    let mut whole = rest(alone).await;
    whole.sort();
    assert_eq!(whole, expected);
}

#[tokio::test]
async fn wildcards_take_in_nothing_that_is_reserved() {
    let Some(server) = Server::nats() else {
        return;
    };
    let broker = broker(&server);
    // What another tenant keeps goes over the same server, without a header.
    let patterns = [">", "*.tenant-bucket.>", "*.host.>", "*.*"];
    let mut spies = Vec::new();
    for pattern in patterns {
        spies.push(broker.subscribe(NS, wish(&[pattern], None)).await.unwrap());
    }
    let outside = async_nats::connect(server.url()).await.unwrap();
    for subject in [
        "$KV.tenant-bucket.key",
        "runtime.host.x.workload.start",
        "_INBOX.abc",
        "_INBOX.abc.1",
        "a.b",
    ] {
        outside.publish(subject, subject.into()).await.unwrap();
    }
    // `flush` does not wait for the server: when what is sent last is back, it has given all of them
    // to whoever subscribed, and spies that end now miss none.
    caught_up(&outside).await.unwrap();
    let mut all = Vec::new();
    for spy in spies {
        all.push(rest(spy).await.join(" "));
    }
    assert_eq!(all, ["a.b", "", "", "a.b"]);
}

#[tokio::test]
async fn a_request_is_answered_by_whoever_takes_it() {
    let Some(server) = Server::nats() else {
        return;
    };
    let broker = broker(&server);
    let nobody = broker
        .request(NS, message("q", "?"), LONG)
        .await
        .unwrap_err();
    assert_eq!(nobody.to_string(), "nobody takes messages of `q`");
    let mut taker = broker.subscribe(NS, wish(&["q"], None)).await.unwrap();
    let answering = async {
        let question = taker.next().await.unwrap();
        let to = question.reply_to.unwrap();
        broker.publish(NS, message(&to, "yes")).await.unwrap();
    };
    let (answer, ()) = tokio::join!(broker.request(NS, message("q", "?"), LONG), answering);
    assert_eq!(answer.unwrap().body, b"yes");
    let silence = broker.request(NS, message("q", "?"), Duration::from_millis(20));
    assert_eq!(silence.await.unwrap_err().reason, Reason::Timeout);
    let large = Message {
        body: vec![0; 2 << 20],
        ..message("q", "")
    };
    let refused = broker.publish(NS, large).await.unwrap_err();
    assert_eq!(refused.reason, Reason::TooLarge);
}

#[tokio::test]
async fn subscriptions_come_back_with_the_server() {
    let Some(mut server) = Server::nats() else {
        return;
    };
    let broker = broker(&server);
    let mut taker = broker.subscribe(NS, wish(&["a"], Some("g"))).await.unwrap();
    for round in 0..2 {
        let before = format!("before {round}");
        broker.publish(NS, message("a", &before)).await.unwrap();
        // One that was told to have failed may have been sent all the same, and again.
        while body(&mut taker).await != before {}
        server.kill();
        // The connection may not have been missed yet.
        let until = std::time::Instant::now() + LONG;
        let error = loop {
            match broker.publish(NS, message("a", "lost")).await {
                Ok(()) => assert!(std::time::Instant::now() < until),
                Err(error) => break error,
            }
        };
        assert_eq!(error.reason, Reason::Unavailable, "{round}");
        assert_eq!(error.to_string(), "NATS does not answer");
        server.restart();
        once_it_answers(async || broker.publish(NS, message("a", "after")).await).await;
        // What was on its way when the server died may come as well.
        while body(&mut taker).await != "after" {}
    }
}

#[tokio::test]
async fn what_comes_while_too_much_waits_is_counted() {
    let Some(server) = Server::nats() else {
        return;
    };
    let broker = broker(&server);
    let lost = Arc::<AtomicU64>::default();
    let wish = Subscribe {
        queue: 3,
        lost: lost.clone(),
        ..wish(&["a"], None)
    };
    let mut slow = broker.subscribe(NS, wish).await.unwrap();
    for n in 0..5 {
        let message = message("a", &n.to_string());
        broker.publish(NS, message).await.unwrap();
    }
    // Nobody takes any, and two find no room.
    let both = async {
        while lost.load(Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = slow.gather() => unreachable!("it never ends"),
        waited = tokio::time::timeout(LONG, both) => waited.expect("none was lost"),
    }
    assert_eq!(rest(slow).await, ["0", "1", "2"]);
    assert_eq!(lost.load(Relaxed), 2);
}

#[tokio::test]
async fn what_has_come_is_taken_in_at_once() {
    let Some(server) = Server::nats() else {
        return;
    };
    let broker = broker(&server);
    let lost = Arc::<AtomicU64>::default();
    let mut wish = wish(&["burst"], None);
    (wish.queue, wish.lost) = (1, lost.clone());
    let mut member = broker.subscribe(NS, wish).await.unwrap();
    let client = broker.0.client().await.unwrap();
    for _ in 0..1000 {
        client.publish("burst", Bytes::new()).await.unwrap();
    }
    // What the server answers comes behind them.
    caught_up(client).await.unwrap();
    // More than a task's share of a turn is let through.
    assert!(futures::poll!(member.gather()).is_pending());
    assert_eq!(lost.load(Relaxed), 999);
}
