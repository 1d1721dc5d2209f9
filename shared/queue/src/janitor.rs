//! Removes what apalis-redis keeps for ever: 390 bytes for each name that was ever rung for, and a hash for each worker
//! that was ever started.
//!
//! In small scripts, because apalis' own vacuum is one long one and leaves the list of the done behind. Any number of
//! processes may do this at a time. Deliberately absent: statistics from what is removed; Postgres counts.

use std::{sync::LazyLock, time::Duration};

use apalis_redis::Config;
use redis::{Client, RedisError, Script, aio::MultiplexedConnection};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    QueueError, QueueSettings,
    connection::{self, connect},
};

/// Names in one script: about a millisecond of Redis.
const BATCH_MAX: usize = 500;

/// Takes ids from a set of ended ones and removes all that is kept about them.
static TRIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local ids = redis.call('SPOP', KEYS[1], ARGV[1])
        if #ids > 0 then
            redis.call('HDEL', KEYS[2], unpack(ids))
            for _, id in ipairs(ids) do redis.call('UNLINK', KEYS[3] .. ':' .. id) end
        end
        return #ids
        ",
    )
});

/// Removes the hash of each worker that is not registered any more. A worker registers and writes it in one script.
static FORGET_GONE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local removed = 0
        for _, key in ipairs(ARGV) do
            local name = string.sub(key, string.len(KEYS[2]) + 1)
            if not redis.call('ZSCORE', KEYS[1], name) then removed = removed + redis.call('UNLINK', key) end
        end
        return removed
        ",
    )
});

/// Cleans now and then every `every` (at least 1 s), until `stop`. A round that fails is left to the next one.
///
/// Returns early only if the settings cannot work ([`crate::Doorbell::new`] tells), after an error in the log.
pub async fn keep_clean(settings: QueueSettings, stop: CancellationToken, every: Duration) {
    let client = match connection::client(&settings) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no janitor: the settings cannot work");
            return;
        }
    };
    let config = settings.apalis();
    let mut rounds = interval(every.max(Duration::from_secs(1)));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let clean = async {
        loop {
            rounds.tick().await;
            if let Err(error) = round(&client, &config).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "not cleaned this time");
            }
        }
    };
    // Scripts are whole or not at all, so a round can be cut anywhere.
    tokio::select! {
        () = clean => {}
        () = stop.cancelled() => {}
    }
}

async fn round(client: &Client, config: &Config) -> Result<(), QueueError> {
    let mut connection = connect(client).await?;
    for ended in [config.done_jobs_set(), config.dead_jobs_set()] {
        while trim(&mut connection, config, &ended).await.map_err(QueueError::Redis)? >= BATCH_MAX {}
    }
    forget_gone(&mut connection, config).await.map_err(QueueError::Redis)
}

async fn trim(connection: &mut MultiplexedConnection, config: &Config, ended: &str) -> Result<usize, RedisError> {
    TRIM.key(ended)
        .key(config.job_data_hash())
        .key(config.job_meta_hash())
        .arg(BATCH_MAX)
        .invoke_async(connection)
        .await
}

async fn forget_gone(connection: &mut MultiplexedConnection, config: &Config) -> Result<(), RedisError> {
    let prefix = format!("{}:metadata:", config.workers_set());
    let mut cursor: u64 = 0;
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("{prefix}*"))
            .arg("COUNT")
            .arg(BATCH_MAX)
            .query_async(connection)
            .await?;
        if !keys.is_empty() {
            FORGET_GONE.key(config.workers_set()).key(&prefix).arg(&keys).invoke_async::<i64>(connection).await?;
        }
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}
