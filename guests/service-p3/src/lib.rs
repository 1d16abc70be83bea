//! A long-lived service by WASI 0.3. What it does, `MODE` says: `end` ends well, `fail` ends with an
//! error, `sleep` goes on for ever.

use wasip3::{cli::environment::get_environment, clocks::monotonic_clock::wait_for};

wasip3::cli::command::export!(Service);

struct Service;

impl wasip3::exports::cli::run::Guest for Service {
    async fn run() -> Result<(), ()> {
        let environment = get_environment();
        let mode = environment.iter().find(|(name, _)| name == "MODE");
        let mode = mode.map_or("", |(_, mode)| mode.as_str());
        println!("service begins: {mode}");
        match mode {
            "end" => Ok(()),
            "sleep" => loop {
                wait_for(3_600_000_000_000).await;
            },
            _ => Err(()),
        }
    }
}
