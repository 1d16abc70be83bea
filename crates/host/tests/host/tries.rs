//! What a hostile component tries, by its own calls of the interfaces: what it is told, which
//! counter has risen, and that the same try succeeds once it is granted.
//!
//! Tries against the limits of a component (memory, time, handles, header maps, random bytes, bytes
//! in one call) are in [`limits`](crate::limits), those of clients in
//! [`smuggling`](crate::smuggling), and those against other brokers and stores with these.

mod cases;
mod messages;
mod world;

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Instant,
};

use waft_ir::{LocalResources, Pool, Service, Workload};

use crate::{
    connections::wait_until,
    harness::{PATIENCE, Rig, workload},
};
use cases::{Grant, Try, tries};
use world::World;

const EGRESS: &str = "waft_egress_denied_total";
const GUEST: &str = "waft_guest_denied_total";

/// The series of a counter of the component `main` of a workload, which is named with its namespace
/// unless that is `default`.
fn series(workload: &str, name: &str, reason: &str) -> String {
    let (namespace, workload) = workload.split_once('/').unwrap_or(("default", workload));
    let labels = format!("namespace=\"{namespace}\",workload=\"{workload}\",component=\"main\"");
    match reason {
        "" => format!("{name}{{{labels}}}"),
        reason => format!("{name}{{{labels},reason=\"{reason}\"}}"),
    }
}

/// Everything that was refused to a workload, named as for its [`series`].
fn refusals(rig: &Rig, workload: &str) -> Vec<String> {
    let of = series(workload, "", "").replace(['{', '}'], "");
    let metrics = rig.host.metrics();
    let lines = metrics.lines().filter(|line| {
        line.contains(&of)
            && (line.starts_with(EGRESS)
                || line.starts_with(GUEST)
                || (line.starts_with("waft_egress_over_limit_total") && !line.ends_with(" 0")))
    });
    lines.map(str::to_owned).collect()
}

impl Grant {
    fn give(&self, world: &World, workload: &mut Workload) {
        let words = |all: &[&str]| all.iter().map(|word| world.told(word)).collect();
        let component = &mut workload.components[0];
        component.resources = LocalResources {
            allowed_hosts: words(self.hosts),
            allowed_name_lookups: words(self.names),
            allowed_loopback_ports: words(self.ports),
            ..LocalResources::default()
        };
        if let Some(limit) = self.connections {
            component.limits.outbound_connections = limit;
        }
        if let Some(read_only) = self.mount {
            world.mount(workload, read_only);
        }
        if self.is_service {
            let component = workload.components.remove(0);
            workload.service = Some(Service {
                name: component.name,
                image: component.image,
                max_restarts: 0,
                resources: component.resources,
                limits: component.limits,
            });
        }
    }
}

impl Try {
    fn run(&self, world: &World, guest: &str) {
        let what = format!("{}, {guest}", self.name);
        let (told, counted) = ask(world, "denied", guest, &self.denied, self.path);
        let is_told = plain(&told).contains(&plain(self.told));
        assert!(is_told, "{what}: {told}, {counted:?}");
        let (counter, reason) = self.counter;
        let wanted = format!("{} 1", series("denied", counter, reason));
        assert_eq!(counted, [wanted], "{what}: {told}");
        let (path, expected) = self.control;
        let (told, counted) = ask(world, "granted", guest, &self.granted, path);
        let expected = world.told(expected);
        assert!(told.contains(&expected), "{what}, granted: {told}");
        assert!(counted.is_empty(), "{what}, granted: {counted:?}");
    }
}

/// The generations write the same error in different ways.
fn plain(told: &str) -> String {
    let letters = told.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// One try of a workload of its own: what it is told, and what was counted.
fn ask(world: &World, name: &str, guest: &str, grant: &Grant, path: &str) -> (String, Vec<String>) {
    let rig = &world.rig;
    let mut workload = workload(name, &[("main", guest)]);
    grant.give(world, &mut workload);
    let id = rig.run(workload);
    rig.route("test", &[&id]);
    let answer = rig.get(&world.told(path).replace("GUEST", guest));
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    // With the workload its series go, so that the next one begins anew.
    let counted = refusals(rig, name);
    rig.stop(&id);
    rig.wait_for(&id, |state| state.is_none());
    (answer.text().to_owned(), counted)
}

#[test]
fn each_is_refused_told_and_counted_and_succeeds_once_it_is_granted() {
    let Some(world) = World::new() else {
        return;
    };
    let mut rows = 0;
    for case in tries() {
        for guest in case.guests {
            case.run(&world, guest);
        }
        rows += 1;
    }
    assert!(rows >= 40, "{rows}");
}

#[test]
fn a_path_that_changes_while_it_is_opened_leads_nowhere() {
    let Some(world) = World::new() else {
        return;
    };
    let mut racing = workload("racing", &[("main", "tries-p2")]);
    world.mount(&mut racing, false);
    let id = world.rig.run(racing);
    world.rig.route("test", &[&id]);
    let inside = world.folder().join("inside");
    fs::create_dir(inside.join("real")).unwrap();
    fs::write(inside.join("real/secret"), "inside").unwrap();
    let over = AtomicBool::new(false);
    let (mut refused, mut read, mut other) = (0, 0, None);
    thread::scope(|scope| {
        scope.spawn(|| {
            // A folder of the guest's own and a link that leads out, in turns.
            while !over.load(Relaxed) {
                for target in ["real", "../outside"] {
                    symlink(target, inside.join("next")).unwrap();
                    fs::rename(inside.join("next"), inside.join("race")).unwrap();
                }
            }
        });
        wait_until(|| inside.join("race").symlink_metadata().is_ok());
        let until = Instant::now() + PATIENCE;
        while (refused < 20 || read < 20) && other.is_none() && Instant::now() < until {
            match world.rig.get("/open?r&race/secret").text() {
                "inside" => read += 1,
                told if plain(told).contains("notpermitted") => refused += 1,
                told => other = Some(told.to_owned()),
            }
        }
        over.store(true, Relaxed);
    });
    assert_eq!(other, None, "after {read} reads and {refused} refusals");
    assert!(refused >= 20 && read >= 20, "{refused}, {read}");
    let counted = series("racing", GUEST, "PathNotPermitted");
    assert_eq!(
        refusals(&world.rig, "racing"),
        [format!("{counted} {refused}")]
    );
}

#[test]
fn folders_that_are_not_read_to_their_end_hold_up_no_neighbour() {
    let Some(world) = World::new() else {
        return;
    };
    let rig = &world.rig;
    // More than the runtime has threads for files. The instance is kept, and what it holds with it.
    let mut reading = workload("reading", &[("main", "tries-p3")]);
    reading.components[0].pool = Pool {
        size: 1,
        ..Pool::default()
    };
    world.mount(&mut reading, false);
    let id = rig.run(reading);
    rig.route("test", &[&id]);
    assert_eq!(rig.get("/listings?600").text(), "600");
    for guest in ["tries-p2", "tries-p3"] {
        let mut neighbour = workload(guest, &[("main", guest)]);
        world.mount(&mut neighbour, false);
        let id = rig.run(neighbour);
        rig.route("test", &[&id]);
        assert_eq!(rig.get("/stat?file").text(), "done", "{guest}");
    }
}

#[test]
fn a_file_that_was_opened_to_be_read_is_not_written() {
    let Some(world) = World::new() else {
        return;
    };
    for guest in ["tries-p2", "tries-p3"] {
        let grant = Grant {
            mount: Some(false),
            ..cases::NONE
        };
        let (told, counted) = ask(&world, "appending", guest, &grant, "/append?file&5");
        assert!(plain(&told).contains("baddescriptor"), "{guest}: {told}");
        assert!(counted.is_empty(), "{guest}: {counted:?}");
        let content = fs::read_to_string(world.folder().join("inside/file"));
        assert_eq!(content.unwrap(), "inside", "{guest}");
    }
}

#[test]
fn what_would_break_the_framing_of_a_request_is_not_sent() {
    let Some(world) = World::new() else {
        return;
    };
    let grant = Grant {
        ports: &["MACHINE-PORT"],
        ..cases::NONE
    };
    let to = "&http://host.wasmcloud.internal:MACHINE-PORT/";
    for guest in ["tries-p2", "tries-p3"] {
        for (header, wanted) in [
            ("content-length&5", "errorcode"),
            ("content-length&5,5", "invalidsyntax"),
            ("content-length&-1", "invalidsyntax"),
            ("x-a&a%0d%0ax-b:c", "invalidsyntax"),
            ("x-a&a%0ax-b:c", "invalidsyntax"),
            ("x-a%0d%0ax-b&c", "invalidsyntax"),
            ("x-a&%00", "invalidsyntax"),
            ("content-length&0", "200get"),
        ] {
            let path = format!("/header?{header}{to}");
            let (told, counted) = ask(&world, "framing", guest, &grant, &path);
            assert!(plain(&told).contains(wanted), "{guest}, {header}: {told}");
            assert!(!told.contains("x-b"), "{guest}, {header}: {told}");
            let malformed = format!("{} 1", series("framing", GUEST, "MalformedHeader"));
            let expected = (wanted == "invalidsyntax").then_some(malformed);
            assert_eq!(counted, Vec::from_iter(expected), "{guest}, {header}");
        }
    }
}
