//! Workload lifecycle, HTTP server and router, log capture: the HostLink that runs workloads.
