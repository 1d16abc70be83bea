//! Bytes that go from one member of a composition to another and back.

use waft_runtime::{Compiled, Guest, Want};

use crate::support::{ENGINE, get, spec};

const PACKAGES: &str = "example:packages/packages@1.0.0";

/// These, each of which imports what the next one exports.
async fn chain(members: &[&str], change: impl Fn(&mut waft_ir::Limits)) -> Guest {
    let compiled = composed(members).await;
    let mut specs: Vec<_> = members.iter().map(|_| spec().0).collect();
    specs.iter_mut().for_each(|spec| change(&mut spec.limits));
    let first = specs.remove(0);
    ENGINE.link_composed(&compiled, first, specs).await.unwrap()
}

async fn composed(members: &[&str]) -> Compiled {
    let parts = members.iter().enumerate().map(|(at, name)| {
        let want = Want {
            import: PACKAGES.into(),
            from: at + 1,
            export: PACKAGES.into(),
        };
        let wants = (at + 1 < members.len()).then_some(want);
        let wasm = waft_guests::bytes(name).into();
        ((*name).to_owned(), wasm, wants.into_iter().collect())
    });
    ENGINE.compose(parts.collect()).await.unwrap()
}

#[tokio::test]
async fn bytes_arrive_as_they_were_from_everywhere() {
    let guest = chain(&["sender-p2", "packer-p2"], |_| {}).await;
    for length in [0, 1, 2, 63, 64, 65, 66, 100, 1_000, 65_536, 1 << 20] {
        let path = format!("/all?{length}");
        assert_eq!(get(&guest, &path).await.unwrap(), "well", "{length}");
    }
    for what in ["count", "give"] {
        let path = format!("/{what}?{}", 16 << 20);
        assert_eq!(get(&guest, &path).await.unwrap(), "16777216");
    }
}

#[tokio::test]
async fn bytes_pass_through_a_member_between() {
    let guest = chain(&["sender-p2", "carrier-p2", "packer-p2"], |_| {}).await;
    for length in [0, 63, 64, 100, 100_000] {
        let path = format!("/all?{length}");
        assert_eq!(get(&guest, &path).await.unwrap(), "well", "{length}");
    }
}

/// Several at a time in one instance, of wasmtime's other engine.
#[tokio::test]
async fn bytes_arrive_in_an_instance_that_serves_several_requests() {
    let compiled = composed(&["sender-p3", "carrier-p2", "packer-p2"]).await;
    let mut specs = [(); 3].map(|()| spec().0);
    specs[0].pool.size = 1;
    specs[0].pool.max_concurrency = 4;
    let [first, others @ ..] = specs;
    let guest = ENGINE.link_composed(&compiled, first, others.into());
    let guest = guest.await.unwrap();
    for length in [0, 63, 64, 100, 100_000] {
        let path = format!("/all?{length}");
        let answers = futures::future::join_all([(); 4].map(|()| get(&guest, &path))).await;
        for answer in answers {
            assert_eq!(answer.unwrap(), "well", "{length}");
        }
    }
}

#[tokio::test]
async fn more_bytes_than_there_is_memory_end_the_call() {
    let guest = chain(&["sender-p2", "packer-p2"], |limits| {
        limits.memory_bytes = 12 << 20;
    })
    .await;
    assert_eq!(get(&guest, "/count?1000000").await.unwrap(), "1000000");
    for what in ["count", "give"] {
        let path = format!("/{what}?{}", 8 << 20);
        let error = get(&guest, &path).await.unwrap_err();
        assert_eq!(error.reason(), "MemoryLimit", "{what}");
    }
}

#[tokio::test]
async fn a_trap_of_who_got_bytes_ends_the_call() {
    let guest = chain(&["sender-p2", "packer-p2"], |_| {}).await;
    for length in [10, 1_000] {
        let error = get(&guest, &format!("/crash?{length}")).await.unwrap_err();
        assert_eq!(error.reason(), "Trap", "{length}");
    }
}
