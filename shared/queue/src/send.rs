//! The button of the doorbell: names of due jobs go to Redis, a bounded number of them at a time.
//!
//! apalis-redis 1.0.0 moves *all* due names in one script and stands still for ever once 8,000 are due; so each push
//! looks first how many are out. The look and the push are two commands: processes that ring in the same millisecond
//! may together exceed the limit by one batch each.
//!
//! Deliberately absent: delayed names (`run_at` is a column), retries (the relay rings again), and any promise.

use std::{sync::LazyLock, time::Duration};

use apalis::prelude::TaskSink;
use apalis_redis::{Config, RedisStorage};
use redis::{Client, Script, aio::ConnectionManager};
use tokio::{sync::OnceCell, time::timeout};

use crate::{
    QueueError, QueueSettings, Task,
    connection::{self, CONNECT, REPLY},
};

/// Names in one push: one script, a few milliseconds of Redis.
const BATCH_MAX: usize = 500;
/// The longest that any call of a doorbell takes.
const ANSWER: Duration = CONNECT.saturating_add(REPLY);

/// Waiting, promoted, and taken by a worker that is registered.
static OUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local out = redis.call('ZCARD', KEYS[1]) + redis.call('LLEN', KEYS[2])
        for _, name in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
            out = out + redis.call('SCARD', KEYS[4] .. ':' .. name)
        end
        return out
        ",
    )
});

/// Rings for due jobs. Cheap to clone; all clones share one connection, made at the first use.
#[derive(Clone)]
pub struct Doorbell {
    client: Client,
    config: Config,
    channel: String,
    out_max: usize,
    // Made inside the runtime, at the first use: a doorbell can be made anywhere, and while Redis is away.
    connection: std::sync::Arc<OnceCell<ConnectionManager>>,
}

/// What became of the names that were to be rung for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rung {
    /// Went out, the first of the slice first.
    pub pushed: usize,
    /// Did not, because enough are out. Their rows stay due.
    pub skipped: usize,
}

impl Doorbell {
    /// Checks the settings; makes no connection.
    ///
    /// # Errors
    /// `Settings` or `Address`: wrong for good.
    pub fn new(settings: &QueueSettings) -> Result<Doorbell, QueueError> {
        Ok(Doorbell {
            client: connection::client(settings)?,
            config: settings.apalis(),
            channel: settings.ring_channel(),
            out_max: settings.out_max,
            connection: std::sync::Arc::new(OnceCell::new()),
        })
    }

    /// Pushes the names in the order given, as many as may be out, and rings. Takes at most 4 s.
    ///
    /// # Errors
    /// Redis is away or slow. Some of the names may be out all the same; that does no harm, and all rows stay due.
    pub async fn ring(&self, tasks: &[Task]) -> Result<Rung, QueueError> {
        if tasks.is_empty() {
            return Ok(Rung::default());
        }
        bounded(self.push(tasks)).await
    }

    /// Whether Redis answers, within 4 s.
    ///
    /// # Errors
    /// Redis is away or slow.
    pub async fn ping(&self) -> Result<(), QueueError> {
        bounded(async {
            let connection = self.connection().await?;
            let once = |mut connection: ConnectionManager| async move {
                redis::cmd("PING").query_async::<String>(&mut connection).await
            };
            match once(connection.clone()).await {
                Err(error) if lost(&error) => once(connection).await,
                answer => answer,
            }
            .map(drop)
            .map_err(QueueError::Redis)
        })
        .await
    }

    /// How many names are in Redis: waiting, and taken by a worker but not yet ended. Takes at most 4 s.
    ///
    /// # Errors
    /// Redis is away or slow.
    pub async fn out(&self) -> Result<usize, QueueError> {
        bounded(self.count()).await
    }

    async fn push(&self, tasks: &[Task]) -> Result<Rung, QueueError> {
        let mut rest = tasks;
        while !rest.is_empty() {
            let room = self.out_max.saturating_sub(self.count().await?);
            let (batch, later) = rest.split_at(room.min(BATCH_MAX).min(rest.len()));
            if batch.is_empty() {
                break;
            }
            let mut connection = self.connection().await?;
            RedisStorage::<String>::new(connection.clone())
                .with_config(self.config.clone())
                .push_bulk(batch.iter().map(Task::to_string).collect())
                .await
                .map_err(|error| QueueError::Push(error.into()))?;
            rest = later;
            // A ring that nobody hears costs the worker's poll interval, no more.
            let ring = redis::cmd("PUBLISH").arg(&self.channel).arg("").query_async::<i64>(&mut connection).await;
            if let Err(error) = ring {
                tracing::debug!(%error, "names are out, but the ring was not sent");
            }
        }
        Ok(Rung { pushed: tasks.len() - rest.len(), skipped: rest.len() })
    }

    async fn count(&self) -> Result<usize, QueueError> {
        let mut connection = self.connection().await?;
        let mut count = OUT.key(self.config.scheduled_jobs_set());
        count.key(self.config.active_jobs_list()).key(self.config.workers_set()).key(self.config.inflight_jobs_set());
        match count.invoke_async(&mut connection).await {
            // The connection remembers how its last attempt ended, however long ago: only the second answer is new.
            Err(error) if lost(&error) => count.invoke_async(&mut connection).await,
            answer => answer,
        }
        .map_err(QueueError::Redis)
    }

    async fn connection(&self) -> Result<ConnectionManager, QueueError> {
        let make = || async { self.client.get_connection_manager_lazy(connection::reconnecting()) };
        self.connection.get_or_try_init(make).await.cloned().map_err(QueueError::Redis)
    }
}

fn lost(error: &redis::RedisError) -> bool {
    !error.is_timeout() && (error.is_io_error() || error.is_connection_dropped())
}

async fn bounded<T>(answer: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
    timeout(ANSWER, answer).await.unwrap_or(Err(QueueError::Timeout(ANSWER)))
}
