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

/// Most imports under names of their own, of all members of a composition together.
pub const NAMES: usize = 24;

/// Places from which a host interface is asked: first those of members, then those of imports under
/// names of their own.
pub const PLACES: usize = MEMBERS + NAMES;

/// The views of a store by a host interface, one for each place from which it is asked:
/// `views!(ctx => View(ctx.slot(ID)))` is a `[fn(&mut Ctx) -> View<'_>; PLACES]`.
#[macro_export]
macro_rules! views {
    ($ctx:ident => $view:expr) => {
        $crate::views!($ctx => $view;
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
            16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31)
    };
    ($ctx:ident => $view:expr; $($place:literal),*) => {
        [$(|$ctx| {
            let $ctx = $ctx.of_place($place);
            $view
        }),*]
    };
}

/// What names begin with that stand for the places of members: namespaces of interfaces, and names
/// that imports have of their own.
const MEMBER: &str = "waft-member-m";

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
    let is_sockets_0_3 = name.package == "sockets" && interface == "types" && is_0_3(name);
    let listed = OF_WASI
        .iter()
        .any(|(package, own)| name.package == *package && own.contains(&interface));
    name.namespace == "wasi" && (listed || is_sockets_0_3)
}

/// Whether it is of a release of WASI 0.3, if it is of WASI.
pub(crate) fn is_0_3(name: &InterfaceName) -> bool {
    let version = name.version.as_ref();
    version.is_some_and(|v| v.major == 0 && v.minor == 3)
}

/// The name of an interface that the member in this place has for itself.
pub(crate) fn own_name(name: &InterfaceName, member: usize) -> InterfaceName {
    InterfaceName {
        namespace: format!("{MEMBER}{member}"),
        package: format!("{}-{}", name.namespace, name.package),
        ..name.clone()
    }
}

/// The name under which a composition imports what the member in this place imports under a name of
/// its own.
pub(crate) fn own_label(label: &str, member: usize) -> String {
    format!("{MEMBER}{member}-{label}")
}

/// The member's place and its name for it, of a name that [`own_label`] made.
pub(crate) fn of_label(name: &str) -> Option<(usize, &str)> {
    let (member, label) = name.strip_prefix(MEMBER)?.split_once('-')?;
    Some((member.parse().ok()?, label))
}

/// Whether a name is such a one.
pub(crate) fn is_own_name(name: &InterfaceName) -> bool {
    name.namespace.starts_with(MEMBER)
}

/// Links the own interfaces of all places; those of WASI 0.3 if asked to.
pub(crate) fn link(
    linker: &mut Linker<Ctx>,
    registry: &Registry,
    with_p3: bool,
) -> wasmtime::Result<()> {
    place::<0>(linker, registry, with_p3)?;
    place::<1>(linker, registry, with_p3)?;
    place::<2>(linker, registry, with_p3)?;
    place::<3>(linker, registry, with_p3)?;
    place::<4>(linker, registry, with_p3)?;
    place::<5>(linker, registry, with_p3)?;
    place::<6>(linker, registry, with_p3)?;
    place::<7>(linker, registry, with_p3)
}

fn place<const N: usize>(
    linker: &mut Linker<Ctx>,
    registry: &Registry,
    with_p3: bool,
) -> wasmtime::Result<()> {
    let mut own =
        |name: &str, link: &dyn Fn(&mut LinkerInstance<'_, Ctx>) -> wasmtime::Result<()>| {
            let name: InterfaceName = name.parse().map_err(wasmtime::Error::from)?;
            if is_0_3(&name) && !with_p3 {
                return Ok(());
            }
            link(&mut linker.instance(&own_name(&name, N).to_string())?)
        };
    let environment: fn(&mut Ctx) -> environment::View<'_> =
        |ctx| environment::View(ctx.of_place(N));
    let cli: fn(&mut Ctx) -> WasiCliCtxView<'_> =
        |ctx| wasmtime_wasi::cli::WasiCliView::cli(ctx.of_place(N));
    let http: fn(&mut Ctx) -> wasmtime_wasi_http::WasiHttpCtxView<'_> =
        |ctx| ctx.of_place(N).http();
    let sockets: fn(&mut Ctx) -> sockets::Sockets<'_> = |ctx| sockets::Sockets(ctx.of_place(N));

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
        own(&name.to_string(), &|inst| capability.link(inst, &name, N))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_members_are_read_as_they_were_made() {
        assert_eq!(own_label("my-cache", 3), "waft-member-m3-my-cache");
        assert_eq!(of_label(&own_label("my-cache", 3)), Some((3, "my-cache")));
        for other in ["cache", "waft-member-m", "waft-member-mx-y"] {
            assert_eq!(of_label(other), None, "{other}");
        }
    }
}
