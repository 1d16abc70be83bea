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

async fn act(path: &str) -> Result<String, String> {
    match path {
        "/one" | "/two" => {
            let asked = match path {
                "/one" => one::query(DATABASE.into(), Vec::new()).await,
                _ => two::query(DATABASE.into(), Vec::new()).await,
            };
            let (_, rows, end) = asked.map_err(|error| format!("{error:?}"))?;
            let rows = rows.collect().await;
            end.await.map_err(|error| format!("{error:?}"))?;
            Ok(format!("{rows:?}"))
        }
        "/make" => {
            let with =
                |rows| format!("CREATE TABLE labelled AS SELECT generate_series(1, {rows}) AS n");
            let made = one::query_batch(with(1)).await;
            made.map_err(|error| format!("{error:?}"))?;
            let made = two::query_batch(with(2)).await;
            made.map_err(|error| format!("{error:?}"))?;
            Ok("made".into())
        }
        "/first" => {
            let token = first::prepare(UPDATE.into()).await;
            let token = token.map_err(|error| format!("{error:?}"))?;
            let done = first::exec(token, Vec::new()).await;
            done.map(|rows| rows.to_string())
                .map_err(|error| format!("{error:?}"))
        }
        "/second" => {
            let token = second::prepare(UPDATE.into()).await;
            let token = token.map_err(|error| format!("{error:?}"))?;
            let done = second::exec(token, Vec::new()).await;
            done.map(|rows| rows.to_string())
                .map_err(|error| format!("{error:?}"))
        }
        "/old-one" | "/old-two" => {
            let asked = match path {
                "/old-one" => old_one::query(DATABASE, &[]),
                _ => old_two::query(DATABASE, &[]),
            };
            let rows = asked.map_err(|error| format!("{error:?}"))?;
            let values = rows
                .iter()
                .flatten()
                .map(|entry| format!("{:?}", entry.value));
            Ok(values.collect())
        }
        _ => Ok("nothing".into()),
    }
}
