//! What loads and links, what is refused and how, and the cache.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use bytes::Bytes;
use waft_ir::FailureReason;
use waft_runtime::{Engine, EngineBuilder, EngineConfig, HttpVersion};

use crate::support::{ENGINE, get, load, spec};

#[tokio::test]
async fn bad_inputs_are_refused_with_advice() {
    let component = waft_guests::bytes("hello-p2");
    let truncated = component[..component.len() / 2].to_vec();
    let precompiled = {
        let engine = wasmtime::Engine::default();
        engine.precompile_component(&component).unwrap()
    };
    let cases: [(Vec<u8>, FailureReason, &str); 5] = [
        (
            b"#!/bin/sh".to_vec(),
            FailureReason::NotWasm,
            "wasm32-wasip2",
        ),
        (
            waft_guests::core_module(),
            FailureReason::NotAComponent,
            "wasm-tools component new",
        ),
        (truncated, FailureReason::InvalidComponent, "cut short"),
        (
            component[..6].to_vec(),
            FailureReason::InvalidComponent,
            "cut short",
        ),
        (
            precompiled,
            FailureReason::PrecompiledRefused,
            "never accepted",
        ),
    ];
    for (bytes, reason, advice) in cases {
        let refused = ENGINE.load(bytes.into(), "bad.wasm").await.err().unwrap();
        assert_eq!(refused.reason, reason, "{}", refused.message);
        assert!(refused.message.contains(advice), "{}", refused.message);
        assert!(refused.message.contains("bad.wasm"), "{}", refused.message);
    }
}

/// A component that makes so many instances of a core module, a part of them in a component within it.
fn with_many(module: &str, count: usize) -> Bytes {
    let instances = |count| "(core instance (instantiate $m))".repeat(count);
    let (inside, outside) = (instances(count / 2), instances(count - count / 2));
    let text = format!(
        "(component
            (core module $m {module})
            (component $inner (alias outer 1 $m (core module $m)) {inside})
            (instance (instantiate $inner))
            {outside})"
    );
    wat::parse_str(text).unwrap().into()
}

#[tokio::test]
async fn a_component_of_too_many_parts_is_refused() {
    for (module, most, what) in [
        ("(memory 0)", 64, "linear memories"),
        ("(table 100000 funcref)", 128, "tables"),
        ("", 256, "core module instances"),
    ] {
        ENGINE.load(with_many(module, most), "fits").await.unwrap();
        let refused = ENGINE.load(with_many(module, most + 1), "many.wasm").await;
        let refused = refused.err().unwrap();
        assert_eq!(refused.reason, FailureReason::InvalidComponent);
        for part in [
            "many.wasm",
            what,
            &(most + 1).to_string(),
            &most.to_string(),
        ] {
            assert!(refused.message.contains(part), "{}", refused.message);
        }
        assert!(
            !refused.message.contains("cut short"),
            "{}",
            refused.message
        );
    }
    let guest = ENGINE
        .link(&load("hello-p2").await, spec().0)
        .await
        .unwrap();
    assert_eq!(get(&guest, "/").await.unwrap(), "Hello from Waft!\n");
}

#[tokio::test]
async fn a_component_whose_instance_would_take_much_of_the_host_is_refused() {
    let module = |globals| "(global i64 (i64.const 0))".repeat(globals);
    for (globals, instances) in [(200_000, 1), (2_000, 100)] {
        let fits = with_many(&module(globals), instances);
        ENGINE.load(fits, "fits").await.unwrap();
        let large = with_many(&module(2 * globals), instances);
        let refused = ENGINE.load(large, "large.wasm").await.err().unwrap();
        assert_eq!(refused.reason, FailureReason::InvalidComponent);
        for part in ["large.wasm", "more than one component may", "4194304"] {
            assert!(refused.message.contains(part), "{}", refused.message);
        }
        assert!(!refused.message.contains('\n'), "{}", refused.message);
    }
}

#[tokio::test]
async fn interfaces_are_known() {
    let hello = load("hello-p2").await;
    assert_eq!(hello.http(), Some(HttpVersion::P2));
    let exports = hello.exports().iter();
    let handler = "wasi:http/incoming-handler".parse().unwrap();
    assert_eq!(exports.filter(|name| accepts(&handler, name)).count(), 1);
    assert!(hello.imports().iter().any(|name| name.package == "http"));
    assert_eq!(load("hello-p3").await.http(), Some(HttpVersion::P3));
}

fn accepts(want: &waft_ir::InterfaceName, have: &waft_ir::InterfaceName) -> bool {
    want.accepts(have)
}

#[tokio::test]
async fn an_import_that_nobody_offers_is_refused_by_name() {
    let compiled = load("unsupported-import-p2").await;
    let (spec, _) = spec();
    let refused = ENGINE.link(&compiled, spec).await.err().unwrap();
    assert_eq!(refused.reason, FailureReason::UnsupportedImport);
    let foreign = compiled.imports().iter().find(|n| n.namespace != "wasi");
    let name = foreign.unwrap().to_string();
    assert!(refused.message.contains(&name), "{}", refused.message);
}

#[tokio::test]
async fn the_same_bytes_are_compiled_once() {
    let wasm = Bytes::from(waft_guests::with_image_name("compiled once"));
    let (first, second) = tokio::join!(
        ENGINE.load(wasm.clone(), "first"),
        ENGINE.load(wasm.clone(), "second")
    );
    let third = ENGINE.load(wasm, "third").await.unwrap();
    let address = first.unwrap().imports().as_ptr();
    assert_eq!(second.unwrap().imports().as_ptr(), address);
    assert_eq!(third.imports().as_ptr(), address);
}

fn engine_with_cache(folder: &Path) -> Engine {
    let config = EngineConfig {
        cache_dir: Some(folder.into()),
        max_instances: 10,
        ..EngineConfig::default()
    };
    EngineBuilder::new(config).build().unwrap()
}

fn entries(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect()
}

async fn answers(engine: &Engine, wasm: &Bytes) {
    let compiled = engine.load(wasm.clone(), "hello").await.unwrap();
    let guest = engine.link(&compiled, spec().0).await.unwrap();
    assert_eq!(get(&guest, "/").await.unwrap(), "Hello from Waft!\n");
}

#[tokio::test]
async fn code_survives_a_restart_and_damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let wasm = Bytes::from(waft_guests::with_image_name("cached"));
    answers(&engine_with_cache(&cache), &wasm).await;

    let mode = fs::metadata(&cache).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let [code] = <[_; 1]>::try_from(entries(&cache, "cwasm")).unwrap();
    assert_eq!(entries(&cache, "xxh3").len(), 1);
    let whole = fs::read(&code).unwrap();
    let written = fs::metadata(&code).unwrap().modified().unwrap();

    // Used, not written again.
    answers(&engine_with_cache(&cache), &wasm).await;
    assert_eq!(fs::metadata(&code).unwrap().modified().unwrap(), written);

    // Damaged in the middle: noticed, compiled again, whole again.
    for damage in [damaged(&whole), whole[..whole.len() / 2].to_vec(), vec![]] {
        fs::remove_file(&code).unwrap();
        fs::write(&code, damage).unwrap();
        answers(&engine_with_cache(&cache), &wasm).await;
        assert!(
            fs::read(&code).unwrap() == whole,
            "the cache was not healed"
        );
    }
}

fn damaged(code: &[u8]) -> Vec<u8> {
    let mut damaged = code.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    damaged
}

#[tokio::test]
async fn a_foreign_file_in_the_cache_is_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let wasm = Bytes::from(waft_guests::with_image_name("foreign"));
    answers(&engine_with_cache(&cache), &wasm).await;
    let [code] = <[_; 1]>::try_from(entries(&cache, "cwasm")).unwrap();
    let [sum] = <[_; 1]>::try_from(entries(&cache, "xxh3")).unwrap();
    let whole = fs::read(&code).unwrap();
    // Compiled by an engine with other settings, with a hash that fits.
    let other = wasmtime::Engine::default().precompile_component(&wasm);
    for foreign in [other.unwrap(), b"\x7fELF and no more".to_vec()] {
        let hash = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&foreign));
        fs::remove_file(&code).unwrap();
        fs::write(&code, foreign).unwrap();
        fs::write(&sum, hash).unwrap();
        answers(&engine_with_cache(&cache), &wasm).await;
        assert!(fs::read(&code).unwrap() == whole, "it was not replaced");
    }
}

#[tokio::test]
async fn the_cache_has_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let config = EngineConfig {
        cache_dir: Some(cache.clone()),
        cache_bytes: 1,
        ..EngineConfig::default()
    };
    let engine = EngineBuilder::new(config).build().unwrap();
    for name in ["one", "two"] {
        let wasm = Bytes::from(waft_guests::with_image_name(name));
        answers(&engine, &wasm).await;
        assert_eq!(entries(&cache, "cwasm").len(), 1, "{name}");
    }
}
