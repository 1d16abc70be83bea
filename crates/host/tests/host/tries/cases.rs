//! The table of tries.

use super::{EGRESS, GUEST};

/// One try.
pub(super) struct Try {
    pub(super) name: &'static str,
    pub(super) guests: &'static [&'static str],
    /// What it asks for, and what it has.
    pub(super) path: &'static str,
    pub(super) denied: Grant,
    /// A part of what it is told.
    pub(super) told: &'static str,
    /// The one counter that has risen by one: its name and reason.
    pub(super) counter: (&'static str, &'static str),
    /// What it asks for when it has the other grant, and what it is told then.
    pub(super) control: (&'static str, &'static str),
    pub(super) granted: Grant,
}

/// What the manifest of a component says.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    pub(super) hosts: &'static [&'static str],
    pub(super) names: &'static [&'static str],
    pub(super) ports: &'static [&'static str],
    pub(super) connections: Option<u32>,
    /// Whether it has the folder, and whether it may only read it.
    pub(super) mount: Option<bool>,
    pub(super) is_service: bool,
}

const BOTH: &[&str] = &["tries-p2", "tries-p3"];
pub(super) const NONE: Grant = Grant {
    hosts: &[],
    names: &[],
    ports: &[],
    connections: None,
    mount: None,
    is_service: false,
};
const WRITES: Grant = Grant {
    mount: Some(false),
    ..NONE
};
const READS: Grant = Grant {
    mount: Some(true),
    ..NONE
};
const MACHINE: Grant = Grant {
    ports: &["MACHINE-PORT"],
    ..NONE
};
const SERVICE: Grant = Grant {
    is_service: true,
    ..NONE
};
/// The widest that can be written, short of writing an address out.
const ANY: Grant = Grant {
    hosts: &["*"],
    names: &["*"],
    ..NONE
};

const fn hosts(hosts: &'static [&'static str]) -> Grant {
    Grant { hosts, ..NONE }
}

/// The machine's loopback, by the name for it.
const BY_NAME: (&str, &str) = (
    "/follow?http://host.wasmcloud.internal:MACHINE-PORT/",
    "200 GET / ",
);
/// The server outside, by a name that is granted.
const GRANTED: (&str, &str) = ("/follow?http://granted.test:OUTSIDE-PORT/", "200 GET / ");

/// A path in the folder.
const fn file(name: &'static str, path: &'static str, control: &'static str) -> Try {
    Try {
        name,
        guests: BOTH,
        path,
        denied: WRITES,
        told: "NotPermitted",
        counter: (GUEST, "PathNotPermitted"),
        control: (control, ""),
        granted: WRITES,
    }
}

/// A change of a folder that is mounted read-only.
const fn change(name: &'static str, path: &'static str) -> Try {
    Try {
        denied: READS,
        counter: (GUEST, "ReadOnlyMount"),
        control: (path, "done"),
        ..file(name, path, "")
    }
}

/// An address that nobody may reach, whatever is granted.
const fn forbidden(name: &'static str, path: &'static str) -> Try {
    Try {
        name,
        guests: BOTH,
        path,
        denied: ANY,
        told: "DestinationIpProhibited",
        counter: (EGRESS, "ForbiddenAddress"),
        control: GRANTED,
        granted: hosts(&["granted.test"]),
    }
}

/// A request that is not sent.
const fn request(name: &'static str, path: &'static str, reason: &'static str) -> Try {
    Try {
        denied: hosts(&["other.test"]),
        told: "HttpRequestDenied",
        counter: (EGRESS, reason),
        ..forbidden(name, path)
    }
}

/// A socket.
const fn socket(name: &'static str, path: &'static str, told: &'static str) -> Try {
    Try {
        denied: ANY,
        told,
        control: ("/connect?240.0.0.1:MACHINE-PORT", "done"),
        granted: MACHINE,
        ..forbidden(name, path)
    }
}

/// A port.
const fn port(name: &'static str, path: &'static str, told: &'static str) -> Try {
    Try {
        denied: NONE,
        counter: (EGRESS, "ListenNotGranted"),
        control: ("/listen?127.0.0.1:8000", "done"),
        granted: SERVICE,
        ..socket(name, path, told)
    }
}

/// A header that a guest sets.
const fn header(name: &'static str, path: &'static str) -> Try {
    Try {
        name,
        guests: BOTH,
        path,
        denied: MACHINE,
        told: "Forbidden",
        counter: (GUEST, "ForbiddenHeader"),
        control: (
            "/header?x-mine&value&http://host.wasmcloud.internal:MACHINE-PORT/",
            "x-mine: value\r\n",
        ),
        granted: MACHINE,
    }
}

/// All of them.
pub(super) fn tries() -> Vec<Try> {
    let mut all = files();
    all.extend(requests());
    all.extend(sockets());
    all.extend(headers());
    all
}

fn files() -> Vec<Try> {
    vec![
        file(
            "a path out",
            "/open?r&../outside/secret",
            "/open?r&folder/../file",
        ),
        file(
            "a path out by a folder",
            "/open?r&folder/../../outside/secret",
            "/open?r&folder/../spare",
        ),
        file("an absolute path", "/open?r&/etc/passwd", "/open?r&file"),
        file("a link out", "/open?r&way-out", "/open?r&alias"),
        file("an absolute link", "/open?r&absolute", "/open?r&alias"),
        file("/proc", "/open?r&environ", "/stat?folder"),
        file("the process's files", "/stat?descriptors/0", "/stat?file"),
        file("a device", "/open?r&zero", "/open?r&file"),
        file("what is there", "/stat?../outside/secret", "/stat?spare"),
        file(
            "a hard link in",
            "/link?../outside/secret&stolen",
            "/link?file&hard-GUEST",
        ),
        file(
            "a hard link out",
            "/link?file&../outside/given",
            "/link?file&harder-GUEST",
        ),
        file(
            "a move out",
            "/rename?spare&../outside/spare",
            "/stat?spare",
        ),
        file("a link to /", "/symlink?/etc/passwd&root", "/stat?alias"),
        file(
            "a folder outside",
            "/mkdir?../outside/new",
            "/mkdir?new-GUEST",
        ),
        file("a file outside", "/unlink?../outside/secret", "/stat?file"),
        change("a new file", "/open?c&created"),
        change("a new folder", "/mkdir?made-GUEST"),
        change("a link", "/symlink?file&linked-GUEST"),
        Try {
            counter: (GUEST, "SpecialFile"),
            ..file("a pipe that nobody writes", "/open?r&pipe", "/open?r&file")
        },
        Try {
            told: "1024, then ",
            counter: (GUEST, "OpenFiles"),
            control: ("/hold?1000&file", "1000"),
            ..file("all descriptors", "/hold?5000&file", "")
        },
        Try {
            told: "1024, then ",
            counter: (GUEST, "OpenFiles"),
            control: ("/listings?1000", "1000"),
            ..file("to read folders without end", "/listings?5000", "")
        },
        Try {
            // What 0.2 appends has no handle of its own.
            guests: &["tries-p3"],
            told: "1023, then ",
            counter: (GUEST, "OpenFiles"),
            control: ("/appends?1000&appended", "1000"),
            ..file("to append without end", "/appends?5000&appended", "")
        },
    ]
}

fn requests() -> Vec<Try> {
    vec![
        request(
            "a host that is not granted",
            "/follow?http://granted.test:OUTSIDE-PORT/",
            "HostNotGranted",
        ),
        Try {
            denied: hosts(&["granted.test:1"]),
            ..request(
                "a port that is not granted",
                "/follow?http://granted.test:OUTSIDE-PORT/",
                "HostNotGranted",
            )
        },
        Try {
            denied: hosts(&["https://granted.test"]),
            ..request(
                "without the TLS that is granted",
                "/follow?http://granted.test:OUTSIDE-PORT/",
                "HostNotGranted",
            )
        },
        request(
            "a name with a last dot",
            "/follow?http://granted.test.:OUTSIDE-PORT/",
            "HostNotGranted",
        ),
        Try {
            denied: Grant {
                ports: &["1"],
                ..NONE
            },
            control: BY_NAME,
            granted: MACHINE,
            ..request(
                "a port of the machine that is not listed",
                "/follow?http://host.wasmcloud.internal:MACHINE-PORT/",
                "HostLoopbackNotGranted",
            )
        },
        Try {
            told: "HttpRequestUriInvalid",
            ..request(
                "another host behind user information",
                "/follow?http://other.test@granted.test:OUTSIDE-PORT/",
                "NotAHost",
            )
        },
        Try {
            denied: ANY,
            told: "DestinationIpProhibited",
            ..request(
                "a private address by a wildcard",
                "/follow?http://OUTSIDE/",
                "PrivateAddress",
            )
        },
        Try {
            denied: ANY,
            told: "ConnectionRefused",
            control: BY_NAME,
            granted: MACHINE,
            ..request(
                "the machine's loopback, or another workload's",
                "/follow?http://MACHINE/",
                "NothingListens",
            )
        },
        Try {
            denied: ANY,
            told: "ConnectionRefused",
            control: BY_NAME,
            granted: MACHINE,
            ..request(
                "the machine's loopback as localhost.",
                "/follow?http://LocalHost.:MACHINE-PORT/",
                "NothingListens",
            )
        },
        Try {
            denied: hosts(&["rebind.test"]),
            ..forbidden(
                "a granted name that leads to the loopback",
                "/follow?http://rebind.test:MACHINE-PORT/",
            )
        },
        Try {
            denied: hosts(&["granted.test", "*"]),
            ..forbidden(
                "a redirect to the metadata service",
                "/follow?http://granted.test:OUTSIDE-PORT/redirect",
            )
        },
        forbidden("the metadata service", "/follow?http://169.254.169.254/"),
        Try {
            denied: hosts(&["169.254.169.254"]),
            ..forbidden(
                "the metadata service, written out",
                "/follow?http://169.254.169.254/",
            )
        },
        forbidden(
            "the metadata service as IPv6",
            "/follow?http://[::ffff:169.254.169.254]/",
        ),
        forbidden("Amazon's over IPv6", "/follow?http://[fd00:ec2::254]/"),
        forbidden("0.0.0.0", "/follow?http://0.0.0.0:MACHINE-PORT/"),
        forbidden("[::]", "/follow?http://[::]:MACHINE-PORT/"),
        forbidden(
            "a decimal address",
            "/follow?http://2130706433:MACHINE-PORT/",
        ),
        forbidden(
            "an octal address",
            "/follow?http://0177.0.0.1:MACHINE-PORT/",
        ),
        forbidden(
            "a hexadecimal address",
            "/follow?http://0x7f.1:MACHINE-PORT/",
        ),
        forbidden(
            "a link-local address",
            "/follow?http://[fe80::1]:MACHINE-PORT/",
        ),
        Try {
            counter: (EGRESS, "PrivateAddress"),
            ..forbidden("a unique local address", "/follow?http://[fd00::1]:1/")
        },
    ]
}

fn sockets() -> Vec<Try> {
    let by_address = hosts(&["tcp://OUTSIDE-IP", "udp://OUTSIDE-IP"]);
    vec![
        Try {
            denied: hosts(&["granted.test"]),
            counter: (EGRESS, "HostNotGranted"),
            control: ("/connect?OUTSIDE", "done"),
            granted: by_address,
            ..socket("TCP out", "/connect?OUTSIDE", "AccessDenied")
        },
        Try {
            denied: hosts(&["tcp://OUTSIDE-IP"]),
            counter: (EGRESS, "HostNotGranted"),
            control: ("/send?OUTSIDE", "done"),
            granted: by_address,
            ..socket("UDP out", "/send?OUTSIDE", "AccessDenied")
        },
        Try {
            counter: (EGRESS, "PrivateAddress"),
            control: ("/connect?OUTSIDE", "done"),
            granted: by_address,
            ..socket(
                "TCP to a private address",
                "/connect?OUTSIDE",
                "AccessDenied",
            )
        },
        Try {
            counter: (EGRESS, "HostLoopbackNotGranted"),
            ..socket(
                "a port of the machine that is not listed, by TCP",
                "/connect?240.0.0.1:MACHINE-PORT",
                "AccessDenied",
            )
        },
        Try {
            counter: (EGRESS, "NothingListens"),
            ..socket(
                "the machine's loopback by TCP",
                "/connect?MACHINE",
                "ConnectionRefused",
            )
        },
        socket(
            "TCP to 0.0.0.0",
            "/connect?0.0.0.0:MACHINE-PORT",
            "InvalidArgument",
        ),
        socket(
            "TCP to [::]",
            "/connect?[::]:MACHINE-PORT",
            "InvalidArgument",
        ),
        socket(
            "the loopback as IPv6, by TCP",
            "/connect?[::ffff:127.0.0.1]:MACHINE-PORT",
            "InvalidArgument",
        ),
        socket(
            "the metadata service by TCP",
            "/connect?169.254.169.254:80",
            "AccessDenied",
        ),
        socket(
            "the metadata service by UDP",
            "/send?169.254.169.254:53",
            "AccessDenied",
        ),
        socket(
            "everybody by TCP",
            "/connect?255.255.255.255:80",
            "InvalidArgument",
        ),
        socket("a group by TCP", "/connect?[ff02::1]:80", "InvalidArgument"),
        socket(
            "everybody by UDP",
            "/send?255.255.255.255:53",
            "AccessDenied",
        ),
        socket("a group by UDP", "/send?[ff02::1]:5353", "AccessDenied"),
        Try {
            denied: Grant {
                connections: Some(2),
                ..MACHINE
            },
            counter: ("waft_egress_over_limit_total", ""),
            control: ("/connect-many?3&240.0.0.1:MACHINE-PORT", "3"),
            ..socket(
                "more connections than it may have",
                "/connect-many?3&240.0.0.1:MACHINE-PORT",
                "2, then ",
            )
        },
        port("to listen", "/listen?127.0.0.1:8000", "AccessDenied"),
        Try {
            control: ("/bind-udp?127.0.0.1:8000", "done"),
            ..port(
                "to take datagrams",
                "/bind-udp?127.0.0.1:8000",
                "AccessDenied",
            )
        },
        Try {
            denied: SERVICE,
            ..port(
                "to listen outside",
                "/listen?OUTSIDE-IP:8000",
                "AddressNotBindable",
            )
        },
        Try {
            denied: hosts(&["granted.test"]),
            counter: (EGRESS, "LookUpNotGranted"),
            control: ("/resolve?granted.test", "Ipv4"),
            granted: ANY,
            ..socket("a look-up", "/resolve?granted.test", "AccessDenied")
        },
        Try {
            control: ("/resolve?granted.test", "Ipv4"),
            granted: ANY,
            ..socket(
                "a look-up that leads to the loopback",
                "/resolve?rebind.test",
                "NameUnresolvable",
            )
        },
        Try {
            control: ("/resolve?granted.test", "Ipv4"),
            granted: ANY,
            ..socket(
                "an address in another notation, looked up",
                "/resolve?0x7f.1",
                "NameUnresolvable",
            )
        },
    ]
}

fn headers() -> Vec<Try> {
    vec![
        header(
            "another host",
            "/header?Host&other.test&http://host.wasmcloud.internal:MACHINE-PORT/",
        ),
        header(
            "a framing of its own",
            "/header?transfer-encoding&chunked&http://host.wasmcloud.internal:MACHINE-PORT/",
        ),
        header(
            "a header for the next hop",
            "/header?Connection&x-mine&http://host.wasmcloud.internal:MACHINE-PORT/",
        ),
        header(
            "another protocol",
            "/header?upgrade&h2c&http://host.wasmcloud.internal:MACHINE-PORT/",
        ),
        header(
            "a proxy's credentials",
            "/header?proxy-authorization&x&http://host.wasmcloud.internal:MACHINE-PORT/",
        ),
    ]
}
