//! Imports `wasmcloud:postgres` under names of its own: `/one` and `/two` answer the name of the
//! database that `query` of that name asks, `/old-one` and `/old-two` that of `query` of the draft.
//! `/make` makes a table with a row by `one` and with two by `two`, and `/first` and `/second` answer how
//! many rows a prepared statement of that name changes.

use wasip3::http::types::{ErrorCode, Request, Response};

wit_bindgen::generate!({
    inline: "
        package waft:labels;

        world labels {
            import one: wasmcloud:postgres/query@0.2.0;
            import two: wasmcloud:postgres/query@0.2.0;
            import first: wasmcloud:postgres/prepared@0.2.0;
            import second: wasmcloud:postgres/prepared@0.2.0;
            import old-one: wasmcloud:postgres/query@0.1.1-draft;
            import old-two: wasmcloud:postgres/query@0.1.1-draft;
        }
    ",
    path: ["../wit/postgres.wit", "../wit/postgres-draft.wit"],
    generate_all,
});
wasip3::http::service::export!(Labels);

struct Labels;

/// What each answers.
const DATABASE: &str = "SELECT current_database()::text";
const UPDATE: &str = "UPDATE labelled SET n = 0";

impl wasip3::exports::http::handler::Guest for Labels {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (path, _) = http_answer_async::path_and_query(&request);
        let answer = act(&path).await.unwrap_or_else(|error| error);
        Ok(http_answer_async::text(answer))
    }
}

/// What an interface answers, in its own words.
fn told<T>(result: Result<T, impl std::fmt::Debug>) -> Result<T, String> {
    result.map_err(|error| format!("{error:?}"))
}

async fn act(path: &str) -> Result<String, String> {
    match path {
        "/one" | "/two" => {
            let asked = match path {
                "/one" => one::query(DATABASE.into(), Vec::new()).await,
                _ => two::query(DATABASE.into(), Vec::new()).await,
            };
            let (_, rows, end) = told(asked)?;
            let rows = rows.collect().await;
            told(end.await)?;
            Ok(format!("{rows:?}"))
        }
        "/make" => {
            let with =
                |rows| format!("CREATE TABLE labelled AS SELECT generate_series(1, {rows}) AS n");
            told(one::query_batch(with(1)).await)?;
            told(two::query_batch(with(2)).await)?;
            Ok("made".into())
        }
        "/first" => {
            let token = told(first::prepare(UPDATE.into()).await)?;
            told(first::exec(token, Vec::new()).await).map(|rows| rows.to_string())
        }
        "/second" => {
            let token = told(second::prepare(UPDATE.into()).await)?;
            told(second::exec(token, Vec::new()).await).map(|rows| rows.to_string())
        }
        "/old-one" | "/old-two" => {
            let asked = match path {
                "/old-one" => old_one::query(DATABASE, &[]),
                _ => old_two::query(DATABASE, &[]),
            };
            let rows = told(asked)?;
            let values = rows
                .iter()
                .flatten()
                .map(|entry| format!("{:?}", entry.value));
            Ok(values.collect())
        }
        _ => Ok("nothing".into()),
    }
}
