//! What the host says about its machine and itself.

use std::{sync::Weak, time::Duration};

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};
use waft_capabilities::Capabilities;
use waft_ir::HostInfo;

use crate::{Host, HostConfig};

/// How often the machine is looked at.
const REFRESH: Duration = Duration::from_secs(30);
/// Percent of processor time or memory that are worth telling.
const NOTICEABLE: f32 = 5.0;

/// The first report. The use of processors needs two looks, so it comes with the second.
pub(crate) fn read(config: &HostConfig, capabilities: &Capabilities) -> HostInfo {
    let system = System::new_with_specifics(
        RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()),
    );
    HostInfo {
        id: config.id.clone(),
        name: config.name.clone(),
        hostname: config.hostname.clone(),
        http_port: None,
        labels: config.labels.clone(),
        environment: config.environment.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        os_name: std::env::consts::OS.into(),
        os_arch: std::env::consts::ARCH.into(),
        os_kernel: System::kernel_version().unwrap_or_default(),
        cpu_percent: 0.0,
        memory_total: system.total_memory(),
        memory_free: system.available_memory(),
        components: 0,
        workloads: 0,
        offers: capabilities.offers(),
    }
}

/// Looks at the machine now and then, as long as the host lives. Small changes are kept to itself:
/// each report is a write of the Host object.
pub(crate) async fn refresh(host: Weak<Host>) {
    let mut system = System::new();
    let cpu = CpuRefreshKind::nothing().with_cpu_usage();
    let memory = MemoryRefreshKind::nothing().with_ram();
    system.refresh_cpu_specifics(cpu);
    let mut wait = sysinfo::MINIMUM_CPU_UPDATE_INTERVAL;
    loop {
        tokio::time::sleep(wait).await;
        wait = REFRESH;
        system.refresh_cpu_specifics(cpu);
        system.refresh_memory_specifics(memory);
        let Some(host) = host.upgrade() else {
            return;
        };
        let cpu_percent = system.global_cpu_usage();
        let (total, free) = (system.total_memory(), system.available_memory());
        host.update_info(|info| {
            let moved = info.memory_free.abs_diff(free) as f32 * 100.0 / total.max(1) as f32;
            if moved >= NOTICEABLE || (info.cpu_percent - cpu_percent).abs() >= NOTICEABLE {
                info.cpu_percent = cpu_percent;
                info.memory_free = free;
            }
        });
    }
}
