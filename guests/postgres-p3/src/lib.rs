//! Keeps notes in PostgreSQL: `/add?TEXT` adds one, `/notes` answers all. For tests it runs any
//! statement, with `+` for spaces and parameters after `&`: `i:5`, `t:text`, `d:1.50`, `null`.
//!
//! | path | does |
//! |---|---|
//! | `/query?STATEMENT&PARAMETER…` | answers the columns, the rows and how it ended |
//! | `/count?STATEMENT` | answers how many rows came |
//! | `/first?STATEMENT` | answers the first row and leaves the others |
//! | `/batch?STATEMENTS` | runs them |
//! | `/twice?STATEMENT&PARAMETER…` | prepares it once and runs it twice |

use wasip3::http::types::{ErrorCode, Request, Response};

use crate::wasmcloud::postgres::{
    prepared,
    query::{query, query_batch},
    types::{Error, PgValue},
};

wit_bindgen::generate!({ path: "../wit/postgres.wit" });
wasip3::http::service::export!(Notes);

struct Notes;

impl wasip3::exports::http::handler::Guest for Notes {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (path, query) = http_answer_async::path_and_query(&request);
        let query = query.replace('+', " ");
        let text = act(&path, &query).await;
        let text = text.unwrap_or_else(|error| format!("{error:?}"));
        Ok(http_answer_async::text(text))
    }
}

async fn act(path: &str, text: &str) -> Result<String, Error> {
    let mut parts = text.split('&');
    let statement = parts.next().unwrap_or_default().to_owned();
    let parameters: Vec<_> = parts.map(parameter).collect();
    match path {
        "/add" => {
            let table = "CREATE TABLE IF NOT EXISTS notes \
                         (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL)";
            query_batch(table.into()).await?;
            let insert = "INSERT INTO notes (text) VALUES ($1) RETURNING id".to_owned();
            let (_, rows) = all(insert, vec![PgValue::Text(text.into())]).await?;
            Ok(format!("{:?}\n", rows[0][0]))
        }
        "/notes" => {
            let (_, rows) = all("SELECT text FROM notes ORDER BY id".into(), vec![]).await?;
            let lines = rows.into_iter().flatten().map(|value| match value {
                PgValue::Text(text) => format!("{text}\n"),
                other => format!("{other:?}\n"),
            });
            Ok(lines.collect())
        }
        "/query" => {
            let (columns, rows) = all(statement, parameters).await?;
            Ok(format!("{} {rows:?}", columns.join(",")))
        }
        "/count" => {
            let (_, mut rows, end) = query(statement, parameters).await?;
            let mut count = 0;
            while rows.next().await.is_some() {
                count += 1;
            }
            end.await?;
            Ok(count.to_string())
        }
        "/first" => {
            let (_, mut rows, _end) = query(statement, parameters).await?;
            Ok(format!("{:?}", rows.next().await))
        }
        "/batch" => {
            query_batch(statement).await?;
            Ok("done".into())
        }
        "/twice" => {
            let token = prepared::prepare(statement).await?;
            let first = prepared::exec(token.clone(), parameters.clone()).await?;
            let second = prepared::exec(token, parameters).await?;
            Ok(format!("{first} {second}"))
        }
        "/unknown" => prepared::exec("token".into(), vec![])
            .await
            .map(|n| n.to_string()),
        _ => Ok("nothing".into()),
    }
}

async fn all(
    statement: String,
    parameters: Vec<PgValue>,
) -> Result<(Vec<String>, Vec<Vec<PgValue>>), Error> {
    let (columns, rows, end) = query(statement, parameters).await?;
    let rows = rows.collect().await;
    end.await?;
    Ok((columns, rows))
}

fn parameter(text: &str) -> PgValue {
    match text.split_once(':') {
        Some(("i", number)) => PgValue::Int8(number.parse().unwrap_or(0)),
        Some(("d", digits)) => PgValue::Numeric(digits.into()),
        Some(("t", text)) => PgValue::Text(text.into()),
        _ => PgValue::Null,
    }
}
