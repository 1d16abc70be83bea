# What CI runs, step by step. `just` lists the recipes; `just check test` is what to run before a
# commit. Needs just (cargo install just), or read the commands here.

# List the recipes
default:
    @just --list

# Everything that CI does
ci:
    bash .ci/run

# Form: formatting, lints, layers, licences
check: fmt-check lint guests-check deny

fmt:
    cargo fmt --all
    cd guests && cargo fmt --all

fmt-check:
    cargo fmt --all --check
    cd guests && cargo fmt --all --check

# The second builds jemalloc, which needs make
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy --workspace --locked --features waft-cli/jemalloc,waft-benches/jemalloc -- -D warnings

guests-check:
    cd guests && cargo clippy --workspace --release --locked -- -D warnings

# cargo-deny: cargo install --locked cargo-deny
deny:
    cargo deny --workspace check bans licenses sources

# All tests; those whose servers are not installed say so and pass
test *ARGS:
    cargo test --workspace --locked {{ARGS}}

# What the tests of other programs need: kubectl, a registry, strace, JavaScript and Python components
install:
    tests/env/testenv install debian nats s3 kube kubectl helm js py

# Build the components of the examples again, without the paths of this machine
examples:
    cd guests && RUSTFLAGS="--remap-path-prefix=$HOME=~" cargo build --release --locked
    cp guests/target/wasm32-wasip2/release/hello_p2.wasm examples/hello/hello.wasm
    cp guests/target/wasm32-wasip2/release/hello_p3.wasm examples/http-trigger/hello-p3.wasm
    cp guests/target/wasm32-wasip2/release/visits_p2.wasm examples/service/visits.wasm
    cp guests/target/wasm32-wasip2/release/visitors_p2.wasm examples/service/visitors.wasm
    cp guests/target/wasm32-wasip2/release/greeter_p2.wasm examples/composition/greeter.wasm
    cp guests/target/wasm32-wasip2/release/greeted_p2.wasm examples/composition/greeted.wasm
    cp guests/target/wasm32-wasip2/release/fetch_p2.wasm examples/outbound/fetch.wasm
    cp guests/target/wasm32-wasip2/release/files_p2.wasm examples/volumes/files.wasm
    cp guests/target/wasm32-wasip2/release/config_p2.wasm examples/config/settings.wasm
    cp guests/target/wasm32-wasip2/release/logger_p2.wasm examples/logging/logger.wasm
    cp guests/target/wasm32-wasip2/release/keyvalue_p2.wasm examples/keyvalue/keyvalue.wasm
    cp guests/target/wasm32-wasip2/release/keyvalue_p2.wasm examples/watch/keyvalue.wasm
    cp guests/target/wasm32-wasip2/release/watcher_p2.wasm examples/watch/watcher.wasm
    cp guests/target/wasm32-wasip2/release/secrets_p3.wasm examples/secrets/door.wasm
    cp guests/target/wasm32-wasip2/release/blobstore_p2.wasm examples/blobstore/blobstore.wasm
    cp guests/target/wasm32-wasip2/release/postgres_p3.wasm examples/postgres/notes.wasm
    cp guests/target/wasm32-wasip2/release/tls_p3.wasm examples/tls/tls.wasm
    cp guests/target/wasm32-wasip2/release/otel_p2.wasm examples/otel/telemetry.wasm
    cp guests/target/wasm32-wasip2/release/asker_p2.wasm examples/messaging/api.wasm
    cp guests/target/wasm32-wasip2/release/worker.wasm examples/messaging/worker.wasm
    # The linker leaves this one as a core module; the tests make its component.
    cargo test --locked -p waft-guests
    cp target/guests/wasm32-wasip2/release/named_p2.component.wasm examples/named/named.wasm

# Random and damaged input for ten minutes each, with the build of the tests: arithmetic is checked in it
fuzz:
    WAFT_FUZZ_SECONDS=600 cargo test --workspace --locked --test fuzz --test hostile --test ownership -- --nocapture
    WAFT_FUZZ_SECONDS=600 cargo test --workspace --locked --test guests --test host -- --nocapture fuzz

benches := env_var_or_default("CARGO_TARGET_DIR", "target") / "dist/waft-benches"

# The benchmarks and the program that they start, at once: apart they would compile other crates twice
build-benches:
    cargo build --profile dist --locked -p waft-benches -p waft-cli --features jemalloc

# Requests, cold starts, density, neighbours, and what calls of interfaces cost; docs/performance.md says what they measure
bench *ARGS: build-benches
    {{benches}} http {{ARGS}}
    {{benches}} cold-start
    {{benches}} density {{ARGS}}
    {{benches}} density-up {{ARGS}}
    {{benches}} neighbours {{ARGS}}
    {{benches}} linked {{ARGS}}
    {{benches}} keyvalue {{ARGS}}
    {{benches}} messaging {{ARGS}}

# Ten minutes of mixed load with starts and stops: what the process holds meanwhile and afterwards
soak *ARGS: build-benches
    {{benches}} soak {{ARGS}}

# The API server against kube-apiserver and etcd, in one run
bench-apiserver *ARGS:
    tests/env/testenv install kube
    cargo run --release -p waft-bench-apiserver -- {{ARGS}}

# From exec to the first 200, compiled code cached
bench-first-response: build-benches
    {{benches}} first-response
