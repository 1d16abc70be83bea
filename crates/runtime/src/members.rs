//! What each member of a composition has for itself. Interfaces whose functions depend on who calls
//! (environment, output, folders, sockets, outgoing requests, configuration, log) are linked once
//! for each place of a member, under a name of that place; their functions say whose turn it is and
//! then are the same as everybody's.

use waft_ir::InterfaceName;
use wasmtime::component::{Linker, LinkerInstance};
use wasmtime_wasi::{
    cli::{WasiCli, WasiCliCtxView},
    p2::bindings as p2,
    p3::bindings as p3,
};
use wasmtime_wasi_http::{WasiHttp, WasiHttpView};

use crate::{Ctx, Registry, environment, files, sockets};

/// Most members of one composition.
pub const MEMBERS: usize = 8;

/// The views of a store by a host interface that each member of a composition has for itself, one
/// for each place: `views!(ctx => View(ctx.slot(ID)))` is a `[fn(&mut Ctx) -> View<'_>; MEMBERS]`.
#[macro_export]
macro_rules! views {
    ($ctx:ident => $view:expr) => {
        $crate::views!($ctx => $view; 0, 1, 2, 3, 4, 5, 6, 7)
    };
    ($ctx:ident => $view:expr; $($place:literal),*) => {
        [$(|$ctx| {
            let $ctx = $ctx.of_member($place);
            $view
        }),*]
    };
}

/// Interfaces of WASI that say who is asking.
const OF_WASI: &[(&str, &[&str])] = &[
    ("cli", &["environment", "stdin", "stdout", "stderr"]),
    ("filesystem", &["preopens"]),
    (
        "sockets",
        &[
            "instance-network",
            "tcp-create-socket",
            "udp-create-socket",
            "ip-name-lookup",
        ],
    ),
    ("http", &["outgoing-handler", "client"]),
    ("config", &["store"]),
    ("logging", &["logging"]),
    ("otel", &["tracing", "metrics", "logs"]),
];

/// Whether each member has an interface for itself.
pub(crate) fn is_own(name: &InterfaceName) -> bool {
    let interface = name.interface.as_deref().unwrap_or_default();
    let is_sockets_0_3 = name.package == "sockets"
        && interface == "types"
        && name.version.as_ref().is_some_and(|v| v.minor == 3);
    let listed = OF_WASI
        .iter()
        .any(|(package, own)| name.package == *package && own.contains(&interface));
    name.namespace == "wasi" && (listed || is_sockets_0_3)
}

/// The name of an interface that the member in this place has for itself.
pub(crate) fn own_name(name: &InterfaceName, member: usize) -> InterfaceName {
    InterfaceName {
        namespace: format!("waft-member-m{member}"),
        package: format!("{}-{}", name.namespace, name.package),
        ..name.clone()
    }
}

/// Links the own interfaces of all places.
pub(crate) fn link(linker: &mut Linker<Ctx>, registry: &Registry) -> wasmtime::Result<()> {
    place::<0>(linker, registry)?;
    place::<1>(linker, registry)?;
    place::<2>(linker, registry)?;
    place::<3>(linker, registry)?;
    place::<4>(linker, registry)?;
    place::<5>(linker, registry)?;
    place::<6>(linker, registry)?;
    place::<7>(linker, registry)
}

fn place<const N: usize>(linker: &mut Linker<Ctx>, registry: &Registry) -> wasmtime::Result<()> {
    let mut own =
        |name: &str, link: &dyn Fn(&mut LinkerInstance<'_, Ctx>) -> wasmtime::Result<()>| {
            let name: InterfaceName = name.parse().map_err(wasmtime::Error::from)?;
            link(&mut linker.instance(&own_name(&name, N).to_string())?)
        };
    let environment: fn(&mut Ctx) -> environment::View<'_> =
        |ctx| environment::View(ctx.of_member(N));
    let cli: fn(&mut Ctx) -> WasiCliCtxView<'_> =
        |ctx| wasmtime_wasi::cli::WasiCliView::cli(ctx.of_member(N));
    let http: fn(&mut Ctx) -> wasmtime_wasi_http::WasiHttpCtxView<'_> =
        |ctx| ctx.of_member(N).http();
    let sockets: fn(&mut Ctx) -> sockets::Sockets<'_> = |ctx| sockets::Sockets(ctx.of_member(N));

    own("wasi:cli/environment@0.2.12", &|inst| {
        environment::link_p2(inst, environment)
    })?;
    own("wasi:cli/environment@0.3.0", &|inst| {
        environment::link_p3(inst, environment)
    })?;
    own("wasi:cli/stdin@0.2.12", &|inst| {
        p2::cli::stdin::add_to_linker_instance::<Ctx, WasiCli>(inst, cli)
    })?;
    own("wasi:cli/stdout@0.2.12", &|inst| {
        p2::cli::stdout::add_to_linker_instance::<Ctx, WasiCli>(inst, cli)
    })?;
    own("wasi:cli/stderr@0.2.12", &|inst| {
        p2::cli::stderr::add_to_linker_instance::<Ctx, WasiCli>(inst, cli)
    })?;
    own("wasi:cli/stdin@0.3.0", &|inst| {
        p3::cli::stdin::add_to_linker_instance::<Ctx, WasiCli>(inst, cli)
    })?;
    own("wasi:cli/stdout@0.3.0", &|inst| {
        p3::cli::stdout::add_to_linker_instance::<Ctx, WasiCli>(inst, cli)
    })?;
    own("wasi:cli/stderr@0.3.0", &|inst| {
        p3::cli::stderr::add_to_linker_instance::<Ctx, WasiCli>(inst, cli)
    })?;
    own("wasi:filesystem/preopens@0.2.12", &|inst| {
        files::link_preopens(inst, N)
    })?;
    own("wasi:filesystem/preopens@0.3.0", &|inst| {
        files::link_preopens(inst, N)
    })?;
    own("wasi:http/outgoing-handler@0.2.12", &|inst| {
        wasmtime_wasi_http::p2::bindings::http::outgoing_handler::add_to_linker_instance::<
            Ctx,
            WasiHttp,
        >(inst, http)
    })?;
    own("wasi:http/client@0.3.0", &|inst| {
        wasmtime_wasi_http::p3::bindings::http::client::add_to_linker_instance::<Ctx, WasiHttp>(
            inst, http,
        )
    })?;
    for name in sockets::OWN {
        own(name, &|inst| sockets::link_own(inst, name, sockets))?;
    }
    for (capability, name) in registry.own_interfaces() {
        own(&name.to_string(), &|inst| {
            capability.link_own(inst, &name, N)
        })?;
    }
    Ok(())
}
