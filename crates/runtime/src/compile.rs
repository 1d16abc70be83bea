//! Threads for work that must not disturb requests: compiling, loading and linking.

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;
use waft_ir::{Failure, FailureReason};

/// Nice value of threads that compile: any request goes first.
const COMPILE_NICENESS: i32 = 15;
/// Nice value of threads that load compiled code and link it.
const LOAD_NICENESS: i32 = 5;
/// Threads that load and link. They are apart from those that compile, so that a cached component
/// does not wait behind one that takes seconds.
const LOAD_THREADS: usize = 2;

/// The two pools. Their threads sleep while there is nothing to do.
pub(crate) struct Workers {
    compile: ThreadPool,
    load: ThreadPool,
}

impl Workers {
    /// `compilers` threads compile; 0 means as many as there are processors.
    pub(crate) fn new(compilers: usize) -> Result<Self, Failure> {
        let pool = |name: &'static str, threads, niceness| {
            ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(move |at| format!("{name}-{at}"))
                .start_handler(move |_| lower_priority(niceness))
                .build()
                .map_err(|error| {
                    Failure::new(
                        FailureReason::Internal,
                        format!("can't start threads to compile components: {error}"),
                    )
                })
        };
        Ok(Self {
            compile: pool("waft-compile", compilers, COMPILE_NICENESS)?,
            load: pool("waft-load", LOAD_THREADS, LOAD_NICENESS)?,
        })
    }

    /// Runs work that may take seconds. It runs to its end even if nobody waits for it any more.
    pub(crate) async fn compile<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        run(&self.compile, work).await
    }

    /// Runs work that takes milliseconds.
    pub(crate) async fn load<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        run(&self.load, work).await
    }
}

async fn run<T: Send + 'static>(
    pool: &ThreadPool,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (done, result) = oneshot::channel();
    pool.spawn(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let outcome = outcome.unwrap_or_else(|_| {
            Err(Failure::new(
                FailureReason::Internal,
                "the compiler failed on this component; please report it",
            ))
        });
        let _ = done.send(outcome);
    });
    result.await.unwrap_or_else(|_| {
        Err(Failure::new(
            FailureReason::Internal,
            "the host is shutting down",
        ))
    })
}

/// Has the calling thread stand behind those with a lower nice value.
pub(crate) fn lower_priority(niceness: i32) {
    // SAFETY: setpriority takes no pointers. On Linux, who = 0 names the calling thread; elsewhere
    // it would be the process, so it is not called there. Failing changes nothing.
    #[cfg(target_os = "linux")]
    #[allow(
        unsafe_code,
        reason = "there is no safe call for one thread's priority"
    )]
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, niceness);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}
