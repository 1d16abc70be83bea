//! Where guests run: near those who call them, or in threads that stand behind all others.
//!
//! What a guest prints is taken in the thread that runs it, so that its lines tell where it was.

use std::{
    sync::Arc,
    thread::{self, available_parallelism},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, task::JoinHandle};
use waft_ir::LogSource;
use waft_runtime::{Command, GuestSpec, LogSink, RunError};

use crate::support::{ENGINE, get, guest, load, spec, wait_until};

/// The lines of a guest, with the names of the threads that it said them in.
#[derive(Default)]
struct Threads(Mutex<Vec<(String, String)>>);

/// A service that runs until it is stopped.
struct Service {
    command: Command,
    threads: Arc<Threads>,
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<(), RunError>>,
}

impl LogSink for Threads {
    fn line(&self, _: LogSource, _: Option<&str>, text: &str) {
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().push((text.to_owned(), name));
    }
}

impl Threads {
    /// Whether each of its lines with this text was said in a slow thread, or none was.
    fn are_slow(&self, text: &str) -> bool {
        let lines = self.0.lock();
        let names = lines.iter().filter(|(line, _)| line == text);
        let slow: Vec<_> = names.map(|(_, name)| is_slow(name)).collect();
        let all = slow.iter().all(|slow| *slow);
        assert!(all || !slow.contains(&true), "{text}: {lines:?}");
        assert!(!slow.is_empty(), "{text}: {lines:?}");
        all
    }

    fn count(&self, text: &str) -> usize {
        let lines = self.0.lock();
        lines.iter().filter(|(line, _)| line == text).count()
    }
}

impl Service {
    async fn start(mode: &str, change: impl FnOnce(&mut GuestSpec)) -> Self {
        let compiled = load("service-p2").await;
        let (mut spec, _) = spec();
        let threads = Arc::<Threads>::default();
        spec.log = threads.clone();
        spec.environment = [("MODE".to_owned(), mode.to_owned())].into();
        change(&mut spec);
        let command = ENGINE
            .link_command(&compiled, spec, Vec::new())
            .await
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = command.clone();
        let run = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            running.run(stopped).await
        });
        Self {
            command,
            threads,
            stop,
            run,
        }
    }

    async fn says(&self, text: &str, times: usize) {
        let said = || self.threads.count(text) >= times;
        wait_until(text, said).await;
    }

    async fn stop(self) -> (Command, Arc<Threads>) {
        self.stop.send(()).unwrap();
        self.run.await.unwrap().unwrap();
        (self.command, self.threads)
    }
}

fn is_slow(thread: &str) -> bool {
    thread.starts_with("waft-slow")
}

#[tokio::test]
async fn services_that_compute_leave_the_threads_of_their_neighbours() {
    let processors = available_parallelism().unwrap().get();
    let mut services = Vec::new();
    for _ in 0..processors {
        services.push(Service::start("tell", |_| {}).await);
    }
    for service in &services {
        // The first 10 ms begin near.
        service.says("computes", 10).await;
        let lines = service.threads.0.lock();
        let after = lines.iter().skip(2).filter(|(_, name)| !is_slow(name));
        assert_eq!(after.count(), 0, "{lines:?}");
    }
    let (neighbour, _) = guest("hello-p2", |_| {}).await;
    assert_eq!(get(&neighbour, "/").await.unwrap(), "Hello from Waft!\n");
    for service in services {
        service.stop().await;
    }
}

#[tokio::test]
async fn a_service_comes_back_when_it_waits() {
    let service = Service::start("turns", |_| {}).await;
    service.says("waited", 5).await;
    let (_, threads) = service.stop().await;
    assert!(threads.are_slow("computes"));
    assert!(!threads.are_slow("waited"));
}

#[tokio::test]
async fn a_service_that_waits_for_its_share_stays_behind() {
    let change = |spec: &mut GuestSpec| spec.limits.cpu_millis = Some(200);
    let service = Service::start("tell", change).await;
    // 20 ms in 100: six lines are more than two periods.
    service.says("computes", 8).await;
    let (command, threads) = service.stop().await;
    assert!(command.stats().throttled >= 2);
    let lines = threads.0.lock();
    let near = lines.iter().skip(2).filter(|(_, name)| !is_slow(name));
    assert_eq!(near.count(), 0, "{lines:?}");
}

#[tokio::test]
async fn a_service_is_stopped_while_it_computes_and_its_time_is_counted() {
    let service = Service::start("tell", |_| {}).await;
    // Held by those who can make instances, not by one that runs.
    let without = Arc::strong_count(&service.threads);
    service.says("computes", 10).await;
    let with = Arc::strong_count(&service.threads);
    assert!(with > without, "{with} {without}");
    let time = Duration::from_nanos(service.command.stats().cpu_nanos);
    assert!(time >= Duration::from_millis(50), "{time:?}");
    let (command, threads) = service.stop().await;
    // Nothing of the store is left, although it was in another thread.
    assert_eq!(Arc::strong_count(&threads), without);
    let stats = command.stats();
    assert_eq!(stats.in_flight, 0);
    assert!(Duration::from_nanos(stats.cpu_nanos) >= time);
}

#[tokio::test]
async fn calls_come_back_when_they_wait() {
    for (name, at_a_time) in [("spin-p2", 1), ("hostile-p3", 1), ("hostile-p3", 4)] {
        let threads = Arc::<Threads>::default();
        let (guest, _) = guest(name, |spec| {
            spec.log = threads.clone();
            spec.pool.size = 1;
            spec.pool.max_concurrency = at_a_time;
        })
        .await;
        for _ in 0..2 {
            get(&guest, "/turns").await.unwrap();
        }
        wait_until("both have ended", || guest.stats().in_flight == 0).await;
        assert_eq!(threads.count("waited"), 4, "{name}");
        assert!(threads.are_slow("computes"), "{name}");
        assert!(!threads.are_slow("waited"), "{name}");
        let used = Duration::from_nanos(guest.stats().cpu_nanos);
        assert!(used >= Duration::from_millis(100), "{name}: {used:?}");
    }
}

#[tokio::test]
async fn calls_that_take_much_memory_go_behind_at_once() {
    let threads = Arc::<Threads>::default();
    let (guest, _) = guest("grow-p2", |spec| spec.log = threads.clone()).await;
    get(&guest, "/?32").await.unwrap();
    assert!(threads.are_slow("taken"));
    let near = || threads.0.lock().iter().any(|(_, name)| !is_slow(name));
    // On a busy machine anything may take 5 ms, but not each time.
    for _ in 0..100 {
        get(&guest, "/?8").await.unwrap();
        if near() {
            return;
        }
    }
    panic!("calls that take little went behind as well");
}
