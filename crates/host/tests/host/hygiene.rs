//! What one tenant leaves in its temporary volume, another never sees. Memory, tables and handles
//! are the runtime's business, and tested there.

use waft_ir::{Volume, VolumeMount, VolumeSource, Workload};

use crate::{
    connections::wait_until,
    harness::{Rig, workload},
};

const PATTERN: &str = "xxxx";

/// A workload of a namespace with a temporary volume at `/v`. All have the same names for it.
fn tenant(namespace: &str) -> Workload {
    let mut tenant = workload("w", &[("main", "files-p2")]);
    tenant.namespace = namespace.into();
    tenant.id.0 = format!("uid-{namespace}");
    tenant.volumes.push(Volume {
        name: "v".into(),
        source: VolumeSource::Ephemeral {
            size_limit: 1 << 20,
        },
    });
    tenant.components[0].resources.mounts.push(VolumeMount {
        volume: "v".into(),
        path: "/v".into(),
        read_only: false,
    });
    tenant
}

#[test]
fn a_temporary_volume_is_empty_for_the_next_tenant() {
    let rig = Rig::new();
    let ask = |path: &str| rig.get(path).text().to_owned();
    for round in 0..3 {
        let fills = rig.run(tenant("fills"));
        rig.route("test", &[&fills]);
        for file in ["a", "b"] {
            assert_eq!(ask(&format!("/write?/v/{file}&400000")), "done");
        }
        // The search finds what is there, in another instance of the same tenant.
        assert!(ask("/read?/v/a").contains(PATTERN));
        if round > 0 {
            rig.stop(&fills);
            rig.wait_for(&fills, |state| state.is_none());
        }
        let scans = rig.run(tenant("scans"));
        rig.route("test", &[&scans]);
        assert_eq!(ask("/list?/v"), "");
        // Room that was never written holds nothing of before either.
        assert_eq!(ask("/write?/v/a&0"), "done");
        assert_eq!(ask("/size?/v/a&900000"), "done");
        let content = rig.get("/read?/v/a").body;
        assert_eq!(content.len(), 900_000);
        assert!(content.iter().all(|byte| *byte == 0), "round {round}");
        for id in [fills, scans] {
            rig.stop(&id);
            rig.wait_for(&id, |state| state.is_none());
        }
    }
    let left = || std::fs::read_dir(rig.folder.path().join("volumes")).unwrap();
    wait_until(|| left().count() == 0);
}
