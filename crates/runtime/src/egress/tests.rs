use super::*;

fn policy(hosts: &str, lookups: &str, ports: &str) -> EgressPolicy {
    try_policy(hosts, lookups, ports).unwrap()
}

fn try_policy(hosts: &str, lookups: &str, ports: &str) -> Result<EgressPolicy, InvalidRule> {
    let list = |text: &str| text.split_whitespace().map(Into::into).collect();
    let resources = LocalResources {
        allowed_hosts: list(hosts),
        allowed_name_lookups: list(lookups),
        allowed_loopback_ports: list(ports),
        ..LocalResources::default()
    };
    EgressPolicy::new(&resources, true)
}

const NAMED: Result<Destination, Denied> = Ok(Destination::Remote(Grant {
    is_written_out: true,
}));
const WIDE: Result<Destination, Denied> = Ok(Destination::Remote(Grant {
    is_written_out: false,
}));
const NO: Result<Destination, Denied> = Err(Denied::NotGranted);

#[test]
fn hosts_are_granted_in_every_form() {
    for (rules, scheme, host, port, expected) in [
        ("", "https", "example.com", 443, NO),
        ("*", "https", "example.com", 443, WIDE),
        ("*", "http", "1.2.3.4", 80, WIDE),
        ("example.com", "https", "example.com", 443, NAMED),
        ("example.com", "http", "EXAMPLE.com.", 8080, NAMED),
        ("Example.COM", "http", "example.com", 80, NAMED),
        ("example.com", "http", "a.example.com", 80, NO),
        ("example.com", "http", "example.com.evil.net", 80, NO),
        ("example.com", "http", "notexample.com", 80, NO),
        ("example.com:8443", "https", "example.com", 8443, NAMED),
        ("example.com:8443", "https", "example.com", 443, NO),
        ("*.example.com", "https", "a.example.com", 443, WIDE),
        ("*.example.com", "https", "a.b.example.com", 443, WIDE),
        ("*.example.com", "https", "example.com", 443, NO),
        ("*.example.com", "https", "evilexample.com", 443, NO),
        (
            "*.example.com",
            "https",
            ".example.com",
            443,
            Err(Denied::NotAHost),
        ),
        ("*.example.com:444", "https", "a.example.com", 443, NO),
        ("https://example.com", "https", "example.com", 443, NAMED),
        ("https://example.com/", "https", "example.com", 8443, NAMED),
        ("https://example.com", "http", "example.com", 443, NO),
        ("HTTPS://example.com", "https", "example.com", 443, NAMED),
        (
            "https://*.example.com:443",
            "https",
            "a.example.com",
            443,
            WIDE,
        ),
        ("https://*.example.com", "http", "a.example.com", 80, NO),
        // The widest of several grants counts.
        ("* example.com", "https", "example.com", 443, NAMED),
        // Addresses.
        ("10.0.0.5", "http", "10.0.0.5", 80, NAMED),
        ("10.0.0.5:80", "http", "10.0.0.5", 81, NO),
        ("10.0.0.5", "http", "[::ffff:10.0.0.5]", 80, NAMED),
        ("10.0.0.5", "http", "10.0.0.6", 80, NO),
        ("[fd00::5]:80", "http", "[FD00:0::5]", 80, NAMED),
        ("*", "http", "10.0.0.5", 80, Err(Denied::PrivateNeedsName)),
        ("*", "http", "[fd00::5]", 80, Err(Denied::PrivateNeedsName)),
        ("*", "http", "0.0.0.0", 80, Err(Denied::Forbidden)),
        ("*", "http", "[::]", 80, Err(Denied::Forbidden)),
        (
            "169.254.169.254",
            "http",
            "169.254.169.254",
            80,
            Err(Denied::Forbidden),
        ),
        (
            "*",
            "http",
            "[::ffff:169.254.169.254]",
            80,
            Err(Denied::Forbidden),
        ),
        // A suffix is no part of an address.
        ("*.0.5", "http", "10.0.0.5", 80, NO),
        // What is no host.
        ("*", "http", "", 80, Err(Denied::NotAHost)),
        ("*", "http", "a b", 80, Err(Denied::NotAHost)),
        ("*", "http", "user@example.com", 80, Err(Denied::NotAHost)),
        ("*", "http", "[::1%25eth0]", 80, Err(Denied::NotAHost)),
        // The network within the workload is always the workload's own.
        ("", "http", "127.0.0.1", 80, Ok(Destination::Workload)),
        ("", "http", "127.9.9.9", 80, Ok(Destination::Workload)),
        ("", "http", "[::1]", 80, Ok(Destination::Workload)),
        (
            "",
            "http",
            "[::ffff:127.0.0.1]",
            80,
            Ok(Destination::Workload),
        ),
        ("", "http", "localhost", 80, Ok(Destination::Workload)),
        (
            "",
            "http",
            "service.wasmcloud.internal",
            80,
            Ok(Destination::Workload),
        ),
        // Names below localhost are those of routes.
        ("", "http", "other.localhost", 80, NO),
    ] {
        let asked = policy(rules, "", "").http(scheme, host, port);
        assert_eq!(asked, expected, "{rules}: {scheme}://{host}:{port}");
    }
}

#[test]
fn another_workload_has_no_address_and_no_name_of_the_hosts_own() {
    let policy = policy("* 10.0.0.5", "", "80");
    for (name, granted) in [
        ("other.localhost", true),
        ("example.com", true),
        ("localhost", false),
        (MACHINE_NAME, false),
        ("service.wasmcloud.internal", false),
        ("SERVICE.wasmcloud.internal.", false),
        ("127.0.0.1", false),
        ("[::1]", false),
        ("10.0.0.5", false),
        ("1.1.1.1", false),
    ] {
        assert_eq!(policy.grants_name("http", name, 80), granted, "{name}");
    }
}

#[test]
fn a_granted_name_is_checked_again_by_its_address() {
    let wide = Grant {
        is_written_out: false,
    };
    let named = Grant {
        is_written_out: true,
    };
    for (address, by_wildcard, by_name) in [
        ("1.1.1.1", Ok(()), Ok(())),
        ("192.168.1.1", Err(Denied::PrivateNeedsName), Ok(())),
        ("::ffff:10.1.1.1", Err(Denied::PrivateNeedsName), Ok(())),
        ("127.0.0.1", Err(Denied::Forbidden), Err(Denied::Forbidden)),
        ("::1", Err(Denied::Forbidden), Err(Denied::Forbidden)),
        (
            "169.254.169.254",
            Err(Denied::Forbidden),
            Err(Denied::Forbidden),
        ),
        (
            "::ffff:127.0.0.1",
            Err(Denied::Forbidden),
            Err(Denied::Forbidden),
        ),
        ("0.0.0.0", Err(Denied::Forbidden), Err(Denied::Forbidden)),
    ] {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(wide.admits(address), by_wildcard, "{address}");
        assert_eq!(named.admits(address), by_name, "{address}");
    }
}

#[test]
fn the_machine_is_reached_by_its_name_and_listed_ports_only() {
    let open = policy("*", "", "5432 53/udp 80/TCP");
    let machine = |port| open.http("http", MACHINE_NAME, port);
    assert_eq!(machine(5432), Ok(Destination::Machine(5432)));
    assert_eq!(machine(80), Ok(Destination::Machine(80)));
    assert_eq!(machine(53), Err(Denied::MachineNotGranted));
    assert_eq!(machine(81), Err(Denied::MachineNotGranted));

    let socket = |transport, text: &str| open.connect(transport, text.parse().unwrap(), []);
    assert_eq!(
        socket(Transport::Udp, "240.0.0.1:53"),
        Ok("127.0.0.1:53".parse().unwrap())
    );
    assert_eq!(
        socket(Transport::Tcp, "[100::1]:5432"),
        Ok("[::1]:5432".parse().unwrap())
    );
    for other in ["240.0.0.1:53", "240.0.0.2:5432", "127.0.0.1:5432"] {
        assert!(socket(Transport::Tcp, other).is_err(), "{other}");
    }

    let resources = LocalResources {
        allowed_loopback_ports: vec!["5432".into()],
        ..LocalResources::default()
    };
    let closed = EgressPolicy::new(&resources, false).unwrap();
    assert_eq!(
        closed.http("http", MACHINE_NAME, 5432),
        Err(Denied::MachineNotGranted)
    );
}

#[test]
fn names_are_looked_up_when_granted() {
    let looked_up = |rules: &str, name: &str| policy("*", rules, "").look_up(name);
    let found = |name: &str| Ok(LookUp::Resolve(name.into()));
    let no = Err(Denied::LookUpNotGranted);
    for (rules, name, expected) in [
        ("", "example.com", no.clone()),
        ("*", "Example.com.", found("example.com")),
        ("example.com", "example.com", found("example.com")),
        ("example.com", "a.example.com", no.clone()),
        ("*.example.com", "a.example.com", found("a.example.com")),
        ("*.example.com", "example.com", no.clone()),
        (
            "1.2.3.4",
            "1.2.3.4",
            Ok(LookUp::Address("1.2.3.4".parse().unwrap())),
        ),
        ("*", "not a name", Err(Denied::NotAHost)),
        ("*", "München.de", found("xn--mnchen-3ya.de")),
        (
            "münchen.de",
            "xn--mnchen-3ya.de",
            found("xn--mnchen-3ya.de"),
        ),
        ("", "münchen.de", no.clone()),
        (
            "*",
            "１.１.１.１",
            Ok(LookUp::Address("1.1.1.1".parse().unwrap())),
        ),
        (
            "",
            "ｌｏｃａｌｈｏｓｔ",
            Ok(LookUp::Workload("localhost".into())),
        ),
        ("*", "\u{00ad}", Err(Denied::NotAHost)),
        ("", MACHINE_NAME, Ok(LookUp::Machine)),
        ("", "localhost", Ok(LookUp::Workload("localhost".into()))),
        (
            "",
            "2.svc.wasmcloud.internal",
            Ok(LookUp::Workload("2.svc.wasmcloud.internal".into())),
        ),
        ("", "evilwasmcloud.internal", no.clone()),
    ] {
        assert_eq!(looked_up(rules, name), expected, "{rules}: {name}");
    }
}

#[test]
fn sockets_are_granted_by_address_and_by_the_names_that_led_to_it() {
    use Transport::*;
    for (rules, transport, address, names, granted) in [
        ("*", Tcp, "1.1.1.1:443", &[][..], true),
        ("*", Udp, "1.1.1.1:53", &[], true),
        ("*", Tcp, "10.0.0.1:443", &[], false),
        ("*", Tcp, "10.0.0.1:443", &["db.example.com"], false),
        ("10.0.0.1", Tcp, "10.0.0.1:443", &[], true),
        ("10.0.0.1:5432", Tcp, "10.0.0.1:443", &[], false),
        ("db.example.com", Tcp, "10.0.0.1:443", &[], false),
        (
            "db.example.com",
            Tcp,
            "10.0.0.1:443",
            &["db.example.com"],
            true,
        ),
        (
            "db.example.com:5432",
            Tcp,
            "10.0.0.1:443",
            &["db.example.com"],
            false,
        ),
        (
            "*.example.com",
            Tcp,
            "1.1.1.1:443",
            &["db.example.com"],
            true,
        ),
        (
            "*.example.com",
            Tcp,
            "10.0.0.1:443",
            &["db.example.com"],
            false,
        ),
        (
            "db.example.com",
            Tcp,
            "127.0.0.1:443",
            &["db.example.com"],
            false,
        ),
        (
            "db.example.com",
            Tcp,
            "169.254.169.254:80",
            &["db.example.com"],
            false,
        ),
        ("tcp://1.1.1.1:1", Tcp, "1.1.1.1:1", &[], true),
        ("tcp://1.1.1.1:1", Udp, "1.1.1.1:1", &[], false),
        ("udp://1.1.1.1:1", Udp, "1.1.1.1:1", &[], true),
        ("postgres://1.1.1.1:1", Tcp, "1.1.1.1:1", &[], true),
        ("postgres://1.1.1.1:1", Udp, "1.1.1.1:1", &[], false),
        ("https://1.1.1.1", Tcp, "1.1.1.1:443", &[], false),
        ("1.1.1.1", Tcp, "[::ffff:1.1.1.1]:443", &[], true),
        ("*", Tcp, "[::ffff:127.0.0.1]:443", &[], false),
        ("*", Tcp, "255.255.255.255:1", &[], false),
    ] {
        let asked = policy(rules, "", "").connect(
            transport,
            address.parse().unwrap(),
            names.iter().copied(),
        );
        assert_eq!(
            asked.is_ok(),
            granted,
            "{rules}: {transport} {address}: {asked:?}"
        );
    }
}

#[test]
fn entries_of_no_form_are_refused_by_field() {
    for entry in [
        "http://",
        "a b",
        "*.*.com",
        "a.*.com",
        "*com",
        "example.com:0",
        "example.com:65536",
        "example.com:+1",
        "example.com:",
        "example.com/path",
        "https://example.com/path",
        "://example.com",
        "*.1.2.3.4",
        "[1.2.3.4]",
        "[::1",
        "*:80",
    ] {
        let refused = HostRule::parse(entry);
        assert_eq!(refused, None, "{entry}");
    }
    for entry in ["0", "65536", "80/sctp", "80/", "/tcp", "+80", "80-90", "*"] {
        assert_eq!(PortRule::parse(entry), None, "{entry}");
    }
    let error = try_policy("", "", "80 99999").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`localResources.allowedHostLoopbackPorts`"),
        "{error}"
    );
    assert!(error.to_string().contains("`99999`"), "{error}");
}
