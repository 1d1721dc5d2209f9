//! Connections that can be cut: a listener whose streams carry a switch, and the switch that a request's handler holds.
//! Once thrown, nothing more is written, and the server drops the connection. Deliberately absent: when to throw it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const WHOLE: u8 = 0;
const CLOSED: u8 = 1;
const RESET: u8 = 2;

/// Ends one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch(Arc<AtomicU8>);

impl Switch {
    /// The connection ends with a FIN at the next write.
    pub(crate) fn close(&self) {
        self.0.store(CLOSED, Ordering::SeqCst);
    }

    /// The connection ends with a RST at the next write.
    pub(crate) fn reset(&self) {
        self.0.store(RESET, Ordering::SeqCst);
    }
}

impl Connected<IncomingStream<'_, Cuttable<TcpListener>>> for Switch {
    fn connect_info(stream: IncomingStream<'_, Cuttable<TcpListener>>) -> Self {
        stream.io().switch.clone()
    }
}

/// A listener of cuttable connections, or one of those connections.
pub(crate) struct Cuttable<T> {
    inner: T,
    switch: Switch,
}

impl Cuttable<TcpListener> {
    pub(crate) fn new(inner: TcpListener) -> Self {
        Self { inner, switch: Switch::default() }
    }
}

impl Listener for Cuttable<TcpListener> {
    type Io = Cuttable<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.inner).await;
        // Replies are small; waiting to fill a packet would only add latency that nobody configured.
        let _ = stream.set_nodelay(true);
        (Cuttable { inner: stream, switch: Switch::default() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Listener::local_addr(&self.inner)
    }
}

impl Cuttable<TcpStream> {
    fn whole(&self) -> io::Result<()> {
        match self.switch.0.load(Ordering::SeqCst) {
            WHOLE => Ok(()),
            RESET => {
                // Without it the connection ends with a FIN, which a client may not tell from an orderly end.
                self.inner.set_zero_linger()?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl AsyncRead for Cuttable<TcpStream> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Cuttable<TcpStream> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.whole()?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.whole()?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
