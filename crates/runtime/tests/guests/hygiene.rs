//! What one tenant leaves behind, another never sees.

use std::time::Duration;

use waft_runtime::{CallError, EngineBuilder, EngineConfig, Guest, TrapReason};

use crate::support::{get, spec};

async fn tenants(size: u32) -> [Guest; 2] {
    tenants_of("grow-p2", waft_guests::bytes("grow-p2"), size).await
}

/// Two tenants of one component, on an engine with room for one instance at a time: they take the
/// same slots in turns.
async fn tenants_of(name: &str, wasm: Vec<u8>, size: u32) -> [Guest; 2] {
    tenants_each(name, [wasm.clone(), wasm], size).await
}

/// The same, with a component for each.
async fn tenants_each(name: &str, wasm: [Vec<u8>; 2], size: u32) -> [Guest; 2] {
    let config = EngineConfig {
        max_instances: 1,
        ..EngineConfig::default()
    };
    let engine = EngineBuilder::new(config).build().unwrap();
    let mut tenants = Vec::new();
    for wasm in wasm {
        let compiled = engine.load(wasm.into(), name).await.unwrap();
        let (mut spec, _) = spec();
        spec.pool.size = size;
        spec.limits.table_elements = 2500;
        // What the other leaves is cleaned behind its answer.
        spec.limits.queue_timeout = Duration::from_secs(60);
        tenants.push(engine.link(&compiled, spec).await.unwrap());
    }
    tenants.try_into().ok().unwrap()
}

#[tokio::test]
async fn memory_of_one_tenant_is_zero_for_the_next() {
    for pool in [0, 1] {
        let [fills, scans] = tenants(pool).await;
        for (round, mib) in [1, 2, 8, 1, 4].into_iter().enumerate() {
            // Less than is kept resident, as much, and more.
            assert_eq!(
                get(&fills, &format!("/fill?{mib}")).await.unwrap(),
                "filled\n"
            );
            let found = get(&scans, &format!("/scan?{mib}")).await.unwrap();
            assert_eq!(found, "0\n", "round {round}, pool of {pool}");
        }
    }
}

#[tokio::test]
async fn an_instance_that_trapped_leaves_nothing_either() {
    let [fills, scans] = tenants(0).await;
    for _ in 0..3 {
        // Dropped while it holds what it took.
        get(&fills, "/fill?4").await.unwrap();
        get(&fills, "/").await.unwrap_err();
        assert_eq!(get(&scans, "/scan?8").await.unwrap(), "0\n");
    }
}

#[tokio::test]
async fn the_scan_finds_what_is_there() {
    // Within one pooled instance memory stays, which is what the page on limits says.
    let [tenant, _] = tenants(1).await;
    assert_eq!(get(&tenant, "/fill?1").await.unwrap(), "filled\n");
    let found: u64 = get(&tenant, "/scan?1")
        .await
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(found >= 1 << 15, "{found}");
}

#[tokio::test]
async fn tables_and_globals_of_one_tenant_are_new_for_the_next() {
    let wasm = wat::parse_str(include_str!("tables.wat")).unwrap();
    for pool in [0, 1] {
        let [fills, scans] = tenants_of("tables", wasm.clone(), pool).await;
        for tenant in [&fills, &scans] {
            let answer = get(tenant, "/").await;
            assert_eq!(answer, Err(CallError::NoResponse), "pool of {pool}");
            // It takes a thousand elements twice, and has room for one time.
            assert_eq!(tenant.stats().table_refused, 1);
        }
    }
}

#[tokio::test]
async fn a_pooled_instance_keeps_its_tables() {
    // So the scan of the test above finds what is there.
    let wasm = wat::parse_str(include_str!("tables.wat")).unwrap();
    let [tenant, _] = tenants_of("tables", wasm, 1).await;
    let found = CallError::Trap {
        reason: TrapReason::Unreachable,
    };
    assert_eq!(get(&tenant, "/").await, Err(CallError::NoResponse));
    assert_eq!(get(&tenant, "/").await, Err(found));
}

#[tokio::test]
async fn handles_of_one_tenant_are_nothing_to_the_next() {
    let text = include_str!("handles.wat");
    let from = |call: &str| wat::parse_str(text.replace("FIRST", call)).unwrap();
    let reason = TrapReason::Other;
    for pool in [0, 1] {
        let [keeps, takes] = tenants_each("handles", [from("3"), from("1")], pool).await;
        for count in 1..=3 {
            assert_eq!(get(&keeps, "/").await, Err(CallError::NoResponse));
            let taken = get(&takes, "/").await;
            assert_eq!(taken, Err(CallError::Trap { reason }), "pool of {pool}");
            assert_eq!(takes.stats().traps_of(reason), count);
        }
    }
    // Within one pooled instance they stay, so that what is taken above would be there.
    let [keeps, _] = tenants_each("handles", [from("3"), from("1")], 1).await;
    assert_eq!(get(&keeps, "/").await, Err(CallError::NoResponse));
    let made = keeps.stats().instances_created;
    for _ in 0..2 {
        assert_eq!(get(&keeps, "/").await, Err(CallError::NoResponse));
    }
    assert_eq!(keeps.stats().instances_created, made);
}
