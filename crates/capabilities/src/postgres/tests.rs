//! Statements and values against a real server.

use waft_servers::Server as Real;

use super::{
    pool::Pool,
    statement::Granted,
    types::{DbError, Error, PgValue as V},
    *,
};

fn server(real: &Real) -> Arc<Server> {
    let backends = Backends {
        postgres: Some(real.url()),
        ..Backends::default()
    };
    let Postgres(server) = Postgres::new(&backends).unwrap();
    server.unwrap()
}

fn granted(real: &Real) -> Arc<Granted> {
    Arc::new(Granted::new(server(real), "postgres"))
}

async fn rows(granted: &Granted, text: &str, params: &[V]) -> Result<Vec<Row>, Error> {
    let (mut rows, end) = granted.query(text.into(), params).await?.send();
    let mut all = Vec::new();
    while let Some(row) = rows.recv().await {
        all.push(row);
    }
    end.await.unwrap().map(|()| all)
}

async fn one(granted: &Granted, text: &str, params: &[V]) -> Result<V, Error> {
    Ok(rows(granted, text, params).await?.remove(0).remove(0))
}

fn code(error: Error) -> String {
    match error {
        Error::QueryFailed(DbError { code, .. }) => code,
        other => format!("{other:?}"),
    }
}

/// A certificate authority, and a certificate of `127.0.0.1` with its key, all in PEM.
fn certificates() -> [String; 3] {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let signing = rcgen::KeyPair::generate().unwrap();
    let root = authority.self_signed(&signing).unwrap();
    let issuer = rcgen::Issuer::new(authority, signing);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let leaf = rcgen::CertificateParams::new(names).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    [root.pem(), leaf.pem(), key.serialize_pem()]
}

#[tokio::test]
async fn connections_are_encrypted_as_the_url_says_and_never_unchecked() {
    let [root, certificate, key] = certificates();
    let Some(real) = Real::encrypted_postgres(&certificate, &key) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, root).unwrap();
    let ask = async |parameters: &str, host: &str, extra_ca: &[std::path::PathBuf]| {
        let backends = Backends {
            postgres: Some(real.url().replace("127.0.0.1", host) + parameters),
            extra_ca: extra_ca.to_vec(),
            ..Backends::default()
        };
        let Postgres(server) = Postgres::new(&backends).unwrap();
        let granted = Granted::new(server.unwrap(), "postgres");
        let text = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        one(&granted, text, &[]).await
    };
    let trusting = std::slice::from_ref(&file);
    let here = "127.0.0.1";
    for (parameters, is_encrypted) in [
        ("", true),
        ("?sslmode=prefer", true),
        ("?sslmode=require", true),
        ("?sslmode=verify-ca&pool_size=2", true),
        ("?sslmode=verify-full", true),
        ("?sslmode=disable", false),
    ] {
        let found = ask(parameters, here, trusting).await.unwrap();
        assert_eq!(found, V::Bool(is_encrypted), "{parameters}");
    }
    let named = format!("?sslmode=verify-full&sslrootcert={}", file.display());
    assert_eq!(ask(&named, here, &[]).await.unwrap(), V::Bool(true));
    // Nobody vouches for it, or not for that name: not even `prefer` goes on without encryption.
    for (parameters, host, extra_ca) in [
        ("?sslmode=require", here, &[][..]),
        ("", here, &[]),
        ("?sslrootcert=system", here, &[]),
        ("?sslmode=require", "localhost", trusting),
    ] {
        let refused = format!("{:?}", ask(parameters, host, extra_ca).await.unwrap_err());
        assert!(refused.contains("certificate"), "{parameters}: {refused}");
        assert!(refused.contains("--outbound-ca"), "{parameters}: {refused}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_encrypt_is_refused_where_it_must() {
    let Some(real) = Real::postgres() else {
        return;
    };
    for (parameters, works) in [("?sslmode=require", false), ("?sslmode=prefer", true)] {
        let backends = Backends {
            postgres: Some(real.url() + parameters),
            ..Backends::default()
        };
        let Postgres(server) = Postgres::new(&backends).unwrap();
        let granted = Granted::new(server.unwrap(), "postgres");
        match one(&granted, "SELECT true", &[]).await {
            Ok(_) => assert!(works, "{parameters}"),
            Err(error) => {
                assert!(!works, "{parameters}: {error:?}");
                assert!(
                    format!("{error:?}").contains("does not encrypt"),
                    "{error:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn values_come_back_as_they_went() {
    let Some(real) = Real::postgres() else {
        return;
    };
    let granted = granted(&real);
    let batch = "CREATE EXTENSION IF NOT EXISTS hstore; CREATE EXTENSION IF NOT EXISTS citext; \
                 CREATE TYPE mood AS ENUM ('sad', 'happy'); \
                 CREATE DOMAIN age AS int CHECK (VALUE > 0)";
    granted.batch(batch).await.unwrap();
    let date = types::Date::Ymd((2024, 2, 29));
    let time = types::Time {
        hour: 23,
        min: 59,
        sec: 58,
        micro: 123_456,
    };
    let timestamp = types::Timestamp { date, time };
    let bc = types::Timestamp {
        date: types::Date::Ymd((-43, 3, 15)),
        time,
    };
    let infinite = types::Timestamp {
        date: types::Date::PositiveInfinity,
        time: types::Time {
            hour: 0,
            min: 0,
            sec: 0,
            micro: 0,
        },
    };
    let point = (number::parts(1.5), number::parts(-2.25));
    let corner = (number::parts(7.0), number::parts(8.0));
    let text = |text: &str| text.to_owned();
    let uuid = text("67e55044-10b1-426f-9247-bb680e5fe0c8");
    let mac = types::MacAddressEui48 {
        bytes: (8, 0, 43, 1, 2, 3),
    };
    let mac8 = types::MacAddressEui64 {
        bytes: (8, 0, 43, 1, 2, 3, 4, 5),
    };
    let zoned = types::TimeTz {
        timesonze: text("-05:30"),
        time,
    };
    let universal = types::TimestampTz {
        timestamp,
        offset: types::Offset::EasternHemisphereSecs(0),
    };
    let cases = [
        ("bool", V::Bool(true)),
        ("bool[]", V::BoolArray(vec![true, false])),
        ("int2", V::Int2(i16::MIN)),
        ("int2[]", V::Int2Array(vec![1, -1])),
        ("int2vector", V::Int2Vector(vec![1, 2])),
        (
            "int2vector[]",
            V::Int2VectorArray(vec![vec![1, 2], vec![3]]),
        ),
        ("int4", V::Int4(i32::MAX)),
        ("int8", V::Int8(i64::MIN)),
        ("int8[]", V::Int8Array(vec![1, -1, i64::MAX])),
        ("int4[]", V::Int4Array(Vec::new())),
        ("age", V::Int4(7)),
        ("oid", V::Int8(u32::MAX.into())),
        ("oid[]", V::Int8Array(vec![0, 7])),
        ("float4", V::Float4(number::parts32(0.1))),
        ("float4[]", V::Float4Array(vec![number::parts32(-0.5)])),
        ("float8", V::Float8(number::parts(0.1))),
        ("float8", V::Float8(number::parts(f64::NEG_INFINITY))),
        ("float8[]", V::Float8Array(vec![number::parts(1e300)])),
        ("numeric", V::Numeric(text("-12345678901234567890.000120"))),
        ("numeric", V::Numeric(text("NaN"))),
        ("numeric(10,2)", V::Numeric(text("1.50"))),
        ("numeric[]", V::NumericArray(vec![text("0"), text("10000")])),
        ("text", V::Text(text("naïve ✓"))),
        ("text[]", V::TextArray(vec![text("a,b"), text("{}\"")])),
        ("varchar(5)", V::Varchar((None, b"abc".to_vec()))),
        ("varchar[]", V::VarcharArray(vec![(None, b"abc".to_vec())])),
        ("char(3)", V::Char((3, b"ab ".to_vec()))),
        ("char(3)[]", V::CharArray(vec![(3, b"ab ".to_vec())])),
        ("\"char\"", V::Char((1, b"x".to_vec()))),
        ("\"char\"[]", V::CharArray(vec![(1, b"x".to_vec())])),
        ("name", V::Name(text("n"))),
        ("name[]", V::NameArray(vec![text("n"), text("")])),
        ("citext", V::Text(text("Case"))),
        ("citext[]", V::TextArray(vec![text("Case")])),
        ("mood", V::Text(text("happy"))),
        ("mood[]", V::TextArray(vec![text("sad"), text("happy")])),
        ("xml", V::Xml(text("<a>b</a>"))),
        ("xml[]", V::XmlArray(vec![text("<a/>")])),
        ("json", V::Json(text("{\"a\": [1,  2]}"))),
        ("json[]", V::JsonArray(vec![text("[1,  2]")])),
        ("jsonb", V::Jsonb(text("{\"a\": [1, 2]}"))),
        ("jsonb[]", V::JsonbArray(vec![text("1"), text("null")])),
        ("bytea", V::Bytea(vec![0, 255, 7])),
        ("bytea[]", V::ByteaArray(vec![vec![], vec![0]])),
        ("uuid", V::Uuid(uuid.clone())),
        ("uuid[]", V::UuidArray(vec![uuid])),
        ("date", V::Date(date)),
        ("date", V::Date(types::Date::NegativeInfinity)),
        ("date[]", V::DateArray(vec![date])),
        ("time", V::Time(time)),
        ("time[]", V::TimeArray(vec![time])),
        ("timetz", V::TimeTz(zoned.clone())),
        ("timetz[]", V::TimeTzArray(vec![zoned])),
        ("timestamp", V::Timestamp(timestamp)),
        ("timestamp", V::Timestamp(bc)),
        ("timestamp", V::Timestamp(infinite)),
        ("timestamp[]", V::TimestampArray(vec![timestamp, infinite])),
        ("timestamptz", V::TimestampTz(universal)),
        ("timestamptz[]", V::TimestampTzArray(vec![universal])),
        ("bit(10)", V::Bit((10, vec![0b1010_1010, 0b1100_0000]))),
        ("bit(3)[]", V::BitArray(vec![(3, vec![0b1010_0000])])),
        ("varbit", V::Varbit((Some(3), vec![0b1010_0000]))),
        (
            "varbit[]",
            V::VarbitArray(vec![(Some(3), vec![0b1010_0000])]),
        ),
        ("inet", V::Inet(text("10.1.2.3"))),
        ("inet", V::Inet(text("2001:db8::1/64"))),
        ("cidr", V::Cidr(text("10.0.0.0/8"))),
        ("cidr[]", V::CidrArray(vec![text("10.0.0.0/8")])),
        ("inet[]", V::InetArray(vec![text("::1")])),
        ("macaddr", V::Macaddr(mac)),
        ("macaddr[]", V::MacaddrArray(vec![mac])),
        ("macaddr8", V::Macaddr8(mac8)),
        ("macaddr8[]", V::Macaddr8Array(vec![mac8])),
        ("point", V::Point(point)),
        ("point[]", V::PointArray(vec![point])),
        ("box", V::Box((point, corner))),
        ("circle", V::Circle((point, number::parts(3.0)))),
        (
            "circle[]",
            V::CircleArray(vec![(point, number::parts(3.0))]),
        ),
        ("lseg", V::Lseg((point, corner))),
        (
            "lseg[]",
            V::LsegArray(vec![(point, corner), (corner, point)]),
        ),
        ("path", V::Path(vec![point, corner])),
        (
            "path[]",
            V::PathArray(vec![vec![point, corner], vec![point]]),
        ),
        ("polygon", V::Polygon(vec![point, corner, point])),
        ("polygon[]", V::PolygonArray(vec![vec![point, corner]])),
        ("pg_lsn", V::PgLsn(0x0001_0000_0002)),
        ("pg_lsn[]", V::PgLsnArray(vec![7, 0x0001_0000_0002])),
        ("pg_snapshot", V::PgSnapshot((10, 20, vec![10, 14]))),
        ("txid_snapshot", V::PgSnapshot((10, 20, Vec::new()))),
        (
            "hstore",
            V::Hstore(vec![(text("a"), Some(text("b"))), (text("c"), None)]),
        ),
        ("int4", V::Null),
    ];
    for (of, value) in &cases {
        let back = one(
            &granted,
            &format!("SELECT $1::{of}"),
            std::slice::from_ref(value),
        )
        .await;
        assert_eq!(back.as_ref(), Ok(value), "{of}");
    }
    // What the server makes of them, in its own words.
    for (statement, param, said) in [
        (
            "SELECT $1::timestamp::text",
            V::Timestamp(timestamp),
            "2024-02-29 23:59:58.123456",
        ),
        (
            "SELECT $1::timestamp::text",
            V::Timestamp(bc),
            "0044-03-15 23:59:58.123456 BC",
        ),
        (
            "SELECT $1::numeric::text",
            V::Decimal(text("12.5e3")),
            "12500",
        ),
        (
            "SELECT $1::float4::text",
            V::Double(number::parts(0.1)),
            "0.1",
        ),
        ("SELECT $1::int2::text", V::BigInt(7), "7"),
        ("SELECT $1::numeric::text", V::Integer(-7), "-7"),
        (
            "SELECT $1::box::text",
            V::Box((point, point)),
            "(1.5,-2.25),(1.5,-2.25)",
        ),
    ] {
        let back = one(&granted, statement, &[param]).await;
        assert_eq!(back, Ok(V::Text(said.into())), "{statement}");
    }
    let west = V::TimestampTz(types::TimestampTz {
        timestamp,
        offset: types::Offset::WesternHemisphereSecs(3600),
    });
    let utc = "SELECT ($1::timestamptz AT TIME ZONE 'UTC')::text";
    let utc = one(&granted, utc, &[west]).await;
    assert_eq!(utc, Ok(V::Text("2024-03-01 00:59:58.123456".into())));
}

#[tokio::test]
async fn what_has_no_form_is_refused_and_the_session_goes_on() {
    let Some(real) = Real::postgres() else {
        return;
    };
    let granted = granted(&real);
    for statement in [
        "SELECT interval '1 day'",
        "SELECT ARRAY[1, NULL]",
        "SELECT ARRAY[[1], [2]]",
        "SELECT '((0,0),(1,1))'::path",
        "SELECT money '1.50'",
        "SELECT to_tsvector('a b')",
        "SELECT ROW(1, 2)",
        "SELECT '{1,2,3}'::line",
    ] {
        let refused = rows(&granted, statement, &[]).await.unwrap_err();
        assert!(
            matches!(refused, Error::ValueConversionFailed(_)),
            "{statement}: {refused:?}"
        );
    }
    for (statement, params) in [
        ("SELECT 1", &[V::Int4(1)][..]),
        ("SELECT $1::int", &[]),
        ("SELECT $1::int2", &[V::Int4(40_000)]),
        ("SELECT $1::int", &[V::Text("1".into())]),
        ("SELECT $1::numeric", &[V::Numeric("one".into())]),
        ("SELECT $1::uuid", &[V::Uuid("1".into())]),
        (
            "SELECT $1::date",
            &[V::Date(types::Date::Ymd((2023, 2, 29)))],
        ),
        ("SELECT $1::inet", &[V::Inet("host".into())]),
        ("SELECT $1::bit(3)", &[V::Bit((9, vec![1]))]),
        ("SELECT $1::interval", &[V::Text("1 day".into())]),
    ] {
        let refused = rows(&granted, statement, params).await.unwrap_err();
        assert!(
            matches!(refused, Error::InvalidParams(_)),
            "{statement}: {refused:?}"
        );
    }
    for (statement, expected) in [
        ("SELEC 1", "42601"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT 1; SELECT 2", "42601"),
        ("SELECT i / (i - 3) FROM generate_series(1, 5) i", "22012"),
    ] {
        let refused = rows(&granted, statement, &[]).await.unwrap_err();
        assert_eq!(code(refused), expected, "{statement}");
    }
    granted
        .batch("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let twice = rows(&granted, "INSERT INTO t VALUES (1)", &[])
        .await
        .unwrap_err();
    let Error::QueryFailed(error) = twice else {
        panic!("{twice:?}");
    };
    assert_eq!(
        (error.code.as_str(), error.severity.as_str()),
        ("23505", "ERROR")
    );
    assert!(error.detail.unwrap().contains("already exists"));
    assert!(
        error
            .extras
            .contains(&("constraint".into(), "t_pkey".into())),
        "{:?}",
        error.extras
    );
    // A row that would not fit into this process is not read.
    let large = rows(&granted, "SELECT repeat('x', 20000000)", &[])
        .await
        .unwrap_err();
    assert!(
        matches!(large, Error::ValueConversionFailed(_)),
        "{large:?}"
    );
    // Nor one that is small on the wire.
    for (large, fits) in [("ARRAY[1000]", false), ("ARRAY[100]", true)] {
        let statement = format!("SELECT array_fill('1e131000'::numeric, {large})");
        let read = rows(&granted, &statement, &[]).await.map(drop);
        let is_refused = matches!(read, Err(Error::ValueConversionFailed(_)));
        assert_eq!((read.is_ok(), is_refused), (fits, !fits), "{large}");
    }
    assert_eq!(one(&granted, "SELECT 1", &[]).await, Ok(V::Int4(1)));
}

#[tokio::test]
async fn sessions_keep_nothing_of_the_call_before() {
    let Some(real) = Real::postgres() else {
        return;
    };
    let granted = granted(&real);
    granted.batch("CREATE TABLE t (n int)").await.unwrap();
    for statement in ["BEGIN", "INSERT INTO t VALUES (1)", "ROLLBACK"] {
        rows(&granted, statement, &[]).await.unwrap();
    }
    let count = one(&granted, "SELECT count(*) FROM t", &[]).await;
    assert_eq!(
        count,
        Ok(V::Int8(1)),
        "each statement is a transaction of its own"
    );
    granted
        .batch("SET search_path = nowhere; BEGIN")
        .await
        .unwrap();
    let path = one(&granted, "SHOW search_path", &[]).await;
    assert_eq!(path, Ok(V::Text("\"$user\", public".into())));
    // A statement that was prepared lives on after the table has changed.
    let token = granted
        .prepare("INSERT INTO t VALUES ($1)".into())
        .await
        .unwrap();
    assert_eq!(granted.execute(&token, &[V::Int4(2)]).await, Ok(1));
    granted
        .batch("ALTER TABLE t ALTER n TYPE bigint")
        .await
        .unwrap();
    assert_eq!(granted.execute(&token, &[V::Int8(1 << 40)]).await, Ok(1));
    let unknown = granted.execute("token", &[]).await;
    assert_eq!(unknown, Err(Error::UnknownPreparedStatement));
}

#[tokio::test]
async fn a_statement_that_waits_for_a_lock_in_vain_holds_up_no_other() {
    let Some(real) = Real::postgres() else {
        return;
    };
    let granted = granted(&real);
    granted.batch("CREATE TABLE a (n int)").await.unwrap();
    let (locking, _) = Arc::new(Pool::new(server(&real), "postgres"))
        .lend()
        .await
        .unwrap();
    let lock = locking.client().unwrap();
    lock.batch_execute("BEGIN; LOCK TABLE a").await.unwrap();
    // As soon as it waits, its time is up.
    let waits = async {
        let waiting =
            "SELECT count(*) FROM pg_locks WHERE relation = 'a'::regclass AND NOT granted";
        while one(&granted, waiting, &[]).await != Ok(V::Int8(1)) {}
        tokio::time::pause();
    };
    let (refused, ()) = tokio::join!(rows(&granted, "SELECT n FROM a", &[]), waits);
    tokio::time::resume();
    assert_eq!(refused, Err(Error::Timeout));
    assert_eq!(one(&granted, "SELECT 1", &[]).await, Ok(V::Int4(1)));
}

#[tokio::test]
async fn many_rows_flow_and_those_nobody_wants_are_cancelled() {
    let Some(real) = Real::postgres() else {
        return;
    };
    let granted = granted(&real);
    let all = rows(&granted, "SELECT i FROM generate_series(1, 100000) i", &[]).await;
    assert_eq!(all.unwrap().len(), 100_000);
    // A hundred at a time, with ten sessions.
    let each = (0..100).map(|n| {
        let granted = granted.clone();
        async move { one(&granted, "SELECT $1::int8", &[V::Int8(n)]).await }
    });
    let each = futures::future::join_all(each).await;
    assert!(
        each.iter()
            .enumerate()
            .all(|(n, value)| *value == Ok(V::Int8(n as i64)))
    );
    let active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%waft-slow%' \
                  AND state = 'active' AND pid <> pg_backend_pid()";
    // The server sends what fills its buffer: a few rows do.
    let slow = "SELECT i, repeat('x', 4000), pg_sleep(0.01) FROM generate_series(1, 1000000) i \
                -- waft-slow";
    let (mut rows, end) = granted.query(slow.into(), &[]).await.unwrap().send();
    assert!(rows.recv().await.is_some());
    assert_eq!(one(&granted, active, &[]).await, Ok(V::Int8(1)));
    drop((rows, end));
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while one(&granted, active, &[]).await != Ok(V::Int8(0)) {
        assert!(tokio::time::Instant::now() < until, "it goes on");
    }
}

#[tokio::test]
async fn a_server_that_was_killed_is_used_again() {
    let Some(mut real) = Real::postgres() else {
        return;
    };
    let granted = granted(&real);
    assert_eq!(one(&granted, "SELECT 1", &[]).await, Ok(V::Int4(1)));
    let token = granted.prepare("SELECT $1::int".into()).await.unwrap();
    let waiting = granted.clone();
    let waiting = tokio::spawn(async move { one(&waiting, "SELECT pg_sleep(60)", &[]).await });
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
    while one(&granted, busy, &[]).await != Ok(V::Int8(1)) {}
    real.kill();
    let broken = waiting.await.unwrap().unwrap_err();
    assert!(matches!(broken, Error::ConnectionFailed(_)), "{broken:?}");
    // Its processes end a moment after it.
    let down = loop {
        if let Err(error) = one(&granted, "SELECT 1", &[]).await {
            break error;
        }
    };
    assert!(matches!(down, Error::ConnectionFailed(_)), "{down:?}");
    real.restart();
    assert_eq!(one(&granted, "SELECT 1", &[]).await, Ok(V::Int4(1)));
    assert_eq!(granted.execute(&token, &[V::Int4(1)]).await, Ok(1));
    let missing = Granted::new(server(&real), "nowhere");
    let refused = one(&missing, "SELECT 1", &[]).await.unwrap_err();
    assert!(
        matches!(&refused, Error::ConnectionFailed(text) if text.contains("nowhere")),
        "{refused:?}"
    );
}
