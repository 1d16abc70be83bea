//! Greets in the words of `wasi:keyvalue/store`, which it imports under the name `cache`: the value of
//! `word` in the bucket `greetings`, which it sets first. Serves no HTTP; another component of the
//! workload imports what it exports.

wit_bindgen::generate!({
    inline: "
        package waft:namer;

        world namer {
            import cache: wasi:keyvalue/store@0.2.0-draft;
            export example:greetings/greetings@1.2.0;
        }
    ",
    path: ["../wit/keyvalue.wit", "../wit/greetings-1.2.0.wit"],
    generate_all,
});

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
        Self(name)
    }

    fn greet(&self) -> String {
        let word = cache::open("greetings").and_then(|bucket| {
            bucket.set("word", b"Salut")?;
            bucket.get("word")
        });
        match word {
            Ok(word) => {
                let word = word.unwrap_or_default();
                format!("{}, {}!", String::from_utf8_lossy(&word), self.0)
            }
            Err(error) => format!("{error:?}"),
        }
    }
}
