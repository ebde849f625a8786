//! TCP by tokio.

use std::io;
use std::net::SocketAddr;

use steadfast_replication::ports::Net;
use tokio::net::{TcpListener, TcpStream};

/// TCP without Nagle's delay; names are resolved at each connect.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioNet;

impl Net for TokioNet {
    type Stream = TcpStream;
    type Listener = TcpListener;

    async fn bind(&self, host: &str, port: u16) -> io::Result<TcpListener> {
        TcpListener::bind((host, port)).await
    }

    async fn accept(&self, listener: &mut TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, address))
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
