//! Answers `/NAME` with a greeting that another component of the workload says. Its environment is
//! its own: `/?env` answers what it sees there. It asks for version 1.0 of the interface; a later
//! 1.x will do.

use std::env;

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({ path: "../wit/greetings-1.0.0.wit" });
wasip2::http::proxy::export!(Greeted);

use example::greetings::greetings::Greeter;

struct Greeted;

impl wasip2::exports::http::incoming_handler::Guest for Greeted {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        if query == "env" {
            let mut own: Vec<_> = env::vars()
                .map(|(key, value)| format!("{key}={value}\n"))
                .collect();
            own.sort();
            return http_answer::text(out, 200, &own.concat());
        }
        println!("asked for a greeting");
        let name = path.trim_start_matches('/');
        let greeter = Greeter::new(if name.is_empty() { "world" } else { name });
        http_answer::text(out, 200, &format!("{}\n", greeter.greet()));
    }
}
