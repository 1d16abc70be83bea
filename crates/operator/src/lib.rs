//! Controllers: from manifests to workloads on hosts, and the status that tells how it went.
