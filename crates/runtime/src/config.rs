//! wasmtime's settings.

use tracing::warn;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result,
    WasmBacktraceDetails,
};

/// Instances the pooling allocator has room for unless told otherwise.
const DEFAULT_INSTANCES: u32 = 1_000;

/// Memories and tables one instance may have on average before others find no room: components made
/// from several modules have several.
const MEMORIES_PER_INSTANCE: u32 = 4;

/// Most memories, tables and core modules of one instance, so that none takes the room of all others. A
/// component of Rust or JavaScript has one memory, two tables and three or four modules, one of Python
/// a module for each of its libraries (14 without any of the user's); a composition has what its
/// members have, and one to four modules for each two that call each other.
pub(crate) const MEMORIES: u32 = 64;
pub(crate) const TABLES: u32 = 128;
pub(crate) const CORE_MODULES: u32 = 256;

/// Bytes of the host's own that one instance may take: what it keeps of the globals, imports and functions
/// in tables of all its core modules. Nobody is charged for them. Components of Rust take up to 24 KiB,
/// one of JavaScript 219, one of Python 405 without any library of the user's.
const INSTANCE_SIZE: usize = 4 << 20;

/// Address space one memory may take. It is reserved, not used.
const MEMORY_RESERVATION: u64 = 4 << 30;

/// Elements of the largest table a manifest may ask for.
const MAX_TABLE_ELEMENTS: usize = 1_000_000;

/// Bytes of a freed memory or table that stay mapped for the next instance.
const KEEP_RESIDENT: usize = 256 << 10;

/// Stack of a guest's host calls and its own frames.
const STACK: usize = 2 << 20;

/// An engine with room for `instances` (0 = the default), for components with asynchronous
/// functions or for those without. Where the machine does not allow the
/// address space for a pool, memory is allocated on demand: slower, and without that bound.
pub(crate) fn engine(instances: u32, is_concurrent: bool) -> Result<Engine> {
    let instances = match instances {
        0 => DEFAULT_INSTANCES,
        some => some,
    };
    let mut config = settings(is_concurrent);
    let pool = pool(instances, is_concurrent);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).or_else(|error| {
        warn!(
            error = format!("{error:#}"),
            "no pool of instances on this machine"
        );
        let mut config = settings(is_concurrent);
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        Engine::new(&config)
    })
}

fn settings(is_concurrent: bool) -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.wasm_component_model_async(is_concurrent);
    config.concurrency_support(is_concurrent);
    // Imports under names of their own.
    config.wasm_component_model_implements(true);
    config.epoch_interruption(true);
    config.memory_reservation(MEMORY_RESERVATION);
    config.async_stack_size(STACK);
    // Names come from the name section. Reading debug information at each trap would let a guest
    // make the host work.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.parallel_compilation(true);
    config
}

fn pool(instances: u32, is_concurrent: bool) -> PoolingAllocationConfig {
    let parts = instances.saturating_mul(MEMORIES_PER_INSTANCE);
    // A stack costs a system call when the pool is made. One call at a time needs one.
    let stacks = if is_concurrent { parts } else { instances };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(parts.saturating_mul(4))
        .total_memories(parts)
        .total_tables(parts.saturating_mul(2))
        .total_stacks(stacks)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_core_instances_per_component(CORE_MODULES)
        .max_component_instance_size(INSTANCE_SIZE)
        .max_core_instance_size(INSTANCE_SIZE)
        .max_memory_size(MEMORY_RESERVATION as usize)
        .table_elements(MAX_TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    pool
}
