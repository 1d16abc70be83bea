//! Greets in the words of its own environment: `GREETING`. Serves no HTTP; another component of the
//! workload imports what it exports.

use std::env;

wit_bindgen::generate!({ path: "../wit/greetings-1.2.0.wit" });

use exports::example::greetings::greetings;

struct Component;

export!(Component);

struct Greeter(String);

impl greetings::Guest for Component {
    type Greeter = Greeter;

    fn farewell(name: String) -> String {
        format!("Bye, {name}!")
    }
}

impl greetings::GuestGreeter for Greeter {
    fn new(name: String) -> Self {
        println!("made a greeter");
        Self(name)
    }

    fn greet(&self) -> String {
        let greeting = env::var("GREETING").unwrap_or_else(|_| "(no greeting)".into());
        format!("{greeting}, {}!", self.0)
    }
}
