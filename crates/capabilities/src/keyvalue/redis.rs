//! Buckets in Redis. A bucket is a hash of its name, so that its keys are fields: batches and counters
//! are one command each.
//!
//! The server is shared by all namespaces. The hash [`OWNERS`] says whose a bucket is: the first
//! namespace that opens it, unless somebody writes another there; `*` is everybody's.

#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use redis::{
    Client, ErrorKind, FromRedisValue, RedisError, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
    cmd,
};
use waft_ir::{Failure, FailureReason};

use super::store::{Bucket, Store, StoreError, check_name};

/// The hash with the owners of all buckets.
pub(crate) const OWNERS: &str = "waft:owners";
/// How long one command, or one try to connect, may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Keys in one answer, and a few more.
const PAGE: usize = 1000;
/// Bytes of values that the server goes past for one answer of keys.
const PASSED: usize = 8 << 20;

/// The values of keys, or nothing as soon as they have too many bytes. In the server, so that what is
/// too much is not sent, and nobody changes a value between a look at its size and its reading.
const GET_MANY: &str = "
    local left, values = tonumber(ARGV[1]), {}
    for at = 2, #ARGV do
        local value = redis.call('HGET', KEYS[1], ARGV[at])
        left = left - (value and #value or 0)
        if left < 0 then return false end
        values[at - 1] = value
    end
    return values
";

/// The sum, or nothing if the value is no counter: `HINCRBY` takes numbers below zero as well. It is
/// read as text, because numbers in Lua are not whole above 2^53.
const INCREMENT: &str = "
    local value = redis.call('HGET', KEYS[1], ARGV[1])
    if value and value ~= '0' and not string.match(value, '^[1-9]%d*$') then return false end
    redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
    return redis.call('HGET', KEYS[1], ARGV[1])
";

/// The next cursor, and keys. `HSCAN` gives values as well (not before 7.4 can it be told not to):
/// they stay in the server, and are few at a time.
const KEYS: &str = "
    local cursor, keys, passed = ARGV[1], {}, 0
    repeat
        local found = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 10)
        cursor = found[1]
        for at = 1, #found[2], 2 do
            keys[#keys + 1] = found[2][at]
            passed = passed + #found[2][at + 1]
        end
    until cursor == '0' or #keys >= tonumber(ARGV[2]) or passed > tonumber(ARGV[3])
    return {cursor, keys}
";

/// The server of a host.
pub(super) struct Redis {
    connection: ConnectionManager,
    /// (namespace, hash) that were seen to fit.
    owned: Mutex<HashSet<(String, String)>>,
}

/// One bucket.
struct Hash {
    connection: ConnectionManager,
    name: String,
}

impl Redis {
    /// Connects when it is first used, and again after the connection was lost.
    pub(super) fn new(url: &str) -> Result<Self, Failure> {
        let failed = |error: RedisError| {
            let text = format!("--redis: {error}; write it as redis://HOST:PORT");
            Failure::new(FailureReason::StartFailed, text)
        };
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(WITHIN))
            .set_response_timeout(Some(WITHIN))
            // One who waits is told soon; the next call tries again.
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(200));
        let client = Client::open(url).map_err(failed)?;
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(failed)?;
        Ok(Self {
            connection,
            owned: Mutex::default(),
        })
    }
}

#[async_trait]
impl Store for Redis {
    async fn open(&self, namespace: &str, name: &str) -> Result<Arc<dyn Bucket>, StoreError> {
        check_name(name)?;
        if name.starts_with("waft:") {
            return Err(StoreError::NotOwned);
        }
        let whose = (namespace.to_owned(), name.to_owned());
        if !self.owned.lock().contains(&whose) {
            let mut connection = self.connection.clone();
            let (_, owner): (bool, String) = redis::pipe()
                .atomic()
                .hset_nx(OWNERS, &whose.1, namespace)
                .hget(OWNERS, &whose.1)
                .query_async(&mut connection)
                .await?;
            if owner != namespace && owner != "*" {
                return Err(StoreError::NotOwned);
            }
            self.owned.lock().insert(whose.clone());
        }
        Ok(Arc::new(Hash {
            connection: self.connection.clone(),
            name: whose.1,
        }))
    }
}

impl Hash {
    async fn run<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        let mut connection = self.connection.clone();
        Ok(command.query_async(&mut connection).await?)
    }
}

#[async_trait]
impl Bucket for Hash {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.run(cmd("HGET").arg(&self.name).arg(key)).await
    }

    async fn get_many(
        &self,
        keys: &[String],
        most: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut command = cmd("EVAL");
        command.arg(GET_MANY).arg(1).arg(&self.name);
        command.arg(most).arg(keys);
        let values: Option<_> = self.run(&command).await?;
        values.ok_or(StoreError::LargeAnswer(most))
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.run(cmd("HEXISTS").arg(&self.name).arg(key)).await
    }

    async fn set(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        pairs.iter().try_for_each(|(key, _)| check_name(key))?;
        if pairs.is_empty() {
            return Ok(());
        }
        let mut command = cmd("HSET");
        command.arg(&self.name);
        for (key, value) in &pairs {
            command.arg(key).arg(value);
        }
        self.run::<u64>(&command).await.map(drop)
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut command = cmd("HDEL");
        command.arg(&self.name).arg(keys);
        self.run::<u64>(&command).await.map(drop)
    }

    async fn increment(&self, key: &str, delta: u64) -> Result<u64, StoreError> {
        check_name(key)?;
        let mut command = cmd("EVAL");
        command.arg(INCREMENT).arg(1).arg(&self.name);
        command.arg(key).arg(delta);
        let sum: Option<u64> = self.run(&command).await?;
        sum.ok_or(StoreError::NoCounter)
    }

    async fn keys(&self, cursor: Option<u64>) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let mut command = cmd("EVAL");
        command.arg(KEYS).arg(1).arg(&self.name);
        command.arg(cursor.unwrap_or(0)).arg(PAGE).arg(PASSED);
        let (next, keys): (u64, Vec<Vec<u8>>) = self.run(&command).await?;
        let keys = keys.into_iter();
        let keys = keys.map(|key| String::from_utf8_lossy(&key).into_owned());
        Ok((keys.collect(), (next != 0).then_some(next)))
    }
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        let said = error.detail().unwrap_or_default();
        // The sum, or one of its parts, is no number of 64 bits with a sign.
        if said.contains("overflow") || said.contains("not an integer") {
            return Self::Overflow;
        }
        if error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError) {
            return Self::Other(format!("Redis refuses: {error}"));
        }
        // Whether a change was made before the connection was lost is not known.
        tracing::warn!("Redis: {error}");
        Self::Other(format!("Redis does not answer: {error}"))
    }
}
