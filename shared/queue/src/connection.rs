//! How this crate talks to Redis: every connect and every reply has an end, and nobody waits for a Redis that is away.
//!
//! Deliberately absent: TLS, Sentinel, Cluster. A lost Redis is replaced by an empty one; the direct claimer bridges it.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client,
    aio::{ConnectionManagerConfig, MultiplexedConnection},
};

use crate::{QueueError, QueueSettings};

/// A connect that takes longer has failed.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);
/// A reply that takes longer has failed. The redis crate's own 500 ms kill a worker on one slow script.
pub(crate) const REPLY: Duration = Duration::from_secs(3);

/// Checks the settings. Makes no connection.
pub(crate) fn client(settings: &QueueSettings) -> Result<Client, QueueError> {
    settings.check()?;
    Client::open(settings.redis_url.as_str()).map_err(QueueError::Address)
}

/// A connection that dies with the first error: its owner starts again with a new one.
pub(crate) async fn connect(client: &Client) -> Result<MultiplexedConnection, QueueError> {
    let bounds = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(REPLY));
    // The handshake has no bound of its own: a paused Redis accepts, then says nothing.
    match tokio::time::timeout(CONNECT + REPLY, client.get_multiplexed_async_connection_with_config(&bounds)).await {
        Ok(connected) => connected.map_err(QueueError::Redis),
        Err(_) => Err(QueueError::Timeout(CONNECT + REPLY)),
    }
}

/// For a connection that lives as long as the process and reconnects by itself, first at its first use.
pub(crate) fn reconnecting() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(REPLY))
        .set_number_of_retries(0) // the relay is the retry
}
