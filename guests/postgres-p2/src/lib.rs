//! Runs statements, with `+` for spaces and texts as parameters after `&`: `/query` answers the rows,
//! `/batch` runs several statements, `/twice` prepares one and runs it twice.

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({ path: "../wit/postgres-draft.wit" });
wasip2::http::proxy::export!(Statements);

use wasmcloud::postgres::{prepared, query, types::PgValue};

struct Statements;

impl wasip2::exports::http::incoming_handler::Guest for Statements {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = http_answer::path_and_query(&request);
        let query = query.replace('+', " ");
        let text = act(&path, &query).unwrap_or_else(|error| error);
        http_answer::text(out, 200, &text);
    }
}

fn act(path: &str, text: &str) -> Result<String, String> {
    let mut parts = text.split('&');
    let statement = parts.next().unwrap_or_default();
    let parameters: Vec<_> = parts.map(|text| PgValue::Text(text.into())).collect();
    match path {
        "/query" => {
            let rows = query::query(statement, &parameters);
            let rows = rows.map_err(|error| format!("{error:?}"))?;
            let rows = rows.into_iter().map(|row| {
                let row = row.into_iter();
                let row = row.map(|entry| format!("{}={:?}", entry.column_name, entry.value));
                row.collect::<Vec<_>>().join(" ")
            });
            Ok(rows.collect::<Vec<_>>().join("\n"))
        }
        "/batch" => {
            query::query_batch(statement).map_err(|error| format!("{error:?}"))?;
            Ok("done".into())
        }
        "/twice" => {
            let token = prepared::prepare(statement).map_err(|error| format!("{error:?}"))?;
            let run = || prepared::exec(&token, &parameters).map_err(|error| format!("{error:?}"));
            Ok(format!("{} {}", run()?, run()?))
        }
        _ => Ok("nothing".into()),
    }
}
