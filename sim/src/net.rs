//! TCP of the simulation.

use std::io;
use std::net::SocketAddr;

use steadfast_replication::ports::Net;
use turmoil::net::{TcpListener, TcpStream};

/// Port of the peers.
pub const PEER_PORT: u16 = 7000;
/// Port of the clients.
pub const CLIENT_PORT: u16 = 6379;

/// turmoil's network.
#[derive(Debug, Clone, Copy, Default)]
pub struct TurmoilNet;

impl Net for TurmoilNet {
    type Stream = TcpStream;
    type Listener = TcpListener;

    async fn bind(&self, _host: &str, port: u16) -> io::Result<TcpListener> {
        TcpListener::bind(("0.0.0.0", port)).await
    }

    async fn accept(&self, listener: &mut TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        TcpStream::connect((host, port)).await
    }
}
