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

/// How often a test is repeated that a busy machine may spoil.
const TRIES: usize = 100;

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
    /// How many of its last lines were said where they should be: those of who computes in a slow
    /// thread, and those of who has waited in none.
    fn in_their_place(&self) -> usize {
        let lines = self.0.lock();
        let last = lines.iter().rev();
        let fits = last.take_while(|(text, name)| is_slow(name) == (text == "computes"));
        fits.count()
    }

    /// Whether a line was said in a slow thread.
    fn has_left(&self) -> bool {
        self.0.lock().iter().any(|(_, name)| is_slow(name))
    }

    /// How many lines were said in other than slow threads, of a guest that only computes.
    fn near(&self) -> usize {
        let lines = self.0.lock();
        let (near, behind) = lines.split_at(lines.partition_point(|(_, name)| !is_slow(name)));
        // It stays there.
        assert!(behind.iter().all(|(_, name)| is_slow(name)), "{lines:?}");
        near.len()
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

    /// One that computes and has said so many times that it does. It has left the threads of its
    /// neighbours by its second line: the first 10 ms begin near.
    async fn behind(times: usize, change: impl Fn(&mut GuestSpec)) -> Self {
        // On a busy machine it may be told late that its time is over, but not each time.
        for _ in 0..TRIES {
            let service = Self::start("tell", &change).await;
            wait_until("it has left", || service.threads.has_left()).await;
            if service.threads.near() <= 2 {
                service.says("computes", times).await;
                return service;
            }
            service.stop().await;
        }
        panic!("it goes on for long before it leaves");
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
        services.push(Service::behind(10, |_| {}).await);
    }
    for service in &services {
        let said = service.threads.count("computes");
        service.says("computes", said + 10).await;
        assert!(service.threads.near() <= 2);
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
    // On a busy machine a line may be said elsewhere, but not each time.
    let comes_back = || service.threads.in_their_place() >= 8;
    wait_until("it goes and comes back", comes_back).await;
    service.stop().await;
}

#[tokio::test]
async fn a_service_that_waits_for_its_share_stays_behind() {
    let change = |spec: &mut GuestSpec| spec.limits.cpu_millis = Some(200);
    let service = Service::behind(8, change).await;
    let waits = || service.command.stats().throttled;
    wait_until("it waits twice", || waits() >= 2).await;
    let said = service.threads.count("computes");
    service.says("computes", said + 2).await;
    let (_, threads) = service.stop().await;
    assert!(threads.near() <= 2);
}

#[tokio::test]
async fn a_service_is_stopped_while_it_computes_and_its_time_is_counted() {
    let service = Service::start("tell", |_| {}).await;
    // Held by those who can make instances, not by one that runs.
    let without = Arc::strong_count(&service.threads);
    service.says("computes", 10).await;
    let with = Arc::strong_count(&service.threads);
    assert!(with > without, "{with} {without}");
    let used = || Duration::from_nanos(service.command.stats().cpu_nanos);
    // Of the time that its lines took it had a part, where others compute as well.
    wait_until("its time is counted", || {
        used() >= Duration::from_millis(50)
    })
    .await;
    let time = used();
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
        // On a busy machine a line may be said elsewhere, but not in each call.
        for called in 1.. {
            let before = guest.stats().cpu_nanos;
            get(&guest, "/turns").await.unwrap();
            wait_until("it has ended", || guest.stats().in_flight == 0).await;
            assert_eq!(threads.count("computes"), 2 * called, "{name}");
            assert_eq!(threads.count("waited"), 2 * called, "{name}");
            let used = Duration::from_nanos(guest.stats().cpu_nanos - before);
            let is_counted = used >= Duration::from_millis(50);
            if called > 1 && is_counted && threads.in_their_place() >= 4 {
                break;
            }
            assert!(called < TRIES, "{name}: {used:?}, {:?}", threads.0.lock());
        }
    }
}

#[tokio::test]
async fn calls_that_take_much_memory_go_behind_at_once() {
    let threads = Arc::<Threads>::default();
    let (guest, _) = guest("grow-p2", |spec| spec.log = threads.clone()).await;
    get(&guest, "/?32").await.unwrap();
    let lines = std::mem::take(&mut *threads.0.lock());
    assert!(
        lines.len() == 1 && lines.iter().all(|(_, name)| is_slow(name)),
        "{lines:?}"
    );
    let near = || threads.0.lock().iter().any(|(_, name)| !is_slow(name));
    // On a busy machine anything may take 5 ms, but not each time.
    for _ in 0..TRIES {
        get(&guest, "/?8").await.unwrap();
        if near() {
            return;
        }
    }
    panic!("calls that take little went behind as well");
}

#[tokio::test]
async fn calls_of_a_guest_that_often_traps_begin_behind() {
    for _ in 0..20 {
        let threads = Arc::<Threads>::default();
        let (guest, _) = guest("trap-p2", |spec| spec.log = threads.clone()).await;
        for _ in 0..8 {
            get(&guest, "/panic").await.unwrap_err();
        }
        let told = |line: &(String, String)| line.0.starts_with("thread");
        let panics: Vec<_> = threads
            .0
            .lock()
            .iter()
            .filter(|line| told(line))
            .cloned()
            .collect();
        assert_eq!(panics.len(), 8, "{:?}", threads.0.lock());
        assert!(
            panics[4..].iter().all(|(_, thread)| is_slow(thread)),
            "{panics:?}"
        );
        for _ in 0..64 {
            get(&guest, "/ok").await.unwrap();
        }
        get(&guest, "/panic").await.unwrap_err();
        let last = threads
            .0
            .lock()
            .iter()
            .rev()
            .find(|line| told(line))
            .cloned();
        // On a busy machine anything may take 5 ms, but not each time.
        if !is_slow(&panics[0].1) && !is_slow(&last.unwrap().1) {
            return;
        }
    }
    panic!("calls of a guest that seldom traps begin behind as well");
}
