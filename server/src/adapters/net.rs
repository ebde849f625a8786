//! TCP by tokio.

use std::io;
use std::net::SocketAddr;

use rustix::net::sockopt;
use steadfast_replication::ports::Net;
use tokio::net::{TcpListener, TcpStream};

use crate::config::TCP_KEEPALIVE;

/// Unanswered probes after which a connection is over, a third of `TCP_KEEPALIVE` apart, as in Redis.
const PROBES: u32 = 3;

/// TCP without Nagle's delay, that notices when the other end has vanished; names are resolved at each connect.
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
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, TCP_KEEPALIVE)?;
        sockopt::set_tcp_keepintvl(&stream, TCP_KEEPALIVE / PROBES)?;
        sockopt::set_tcp_keepcnt(&stream, PROBES)?;
        Ok((stream, address))
    }

    fn own_address(&self, stream: &TcpStream) -> Option<SocketAddr> {
        stream.local_addr().ok()
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that vanishes without a word (a host that lost power) does not hold its connection for ever.
    #[test]
    fn accepted_connections_are_kept_alive() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the system has room").block_on(async {
            let mut listener = TokioNet.bind("127.0.0.1", 0).await.expect("loopback has a port");
            let port = listener.local_addr().expect("it is bound").port();
            let client = TokioNet.connect("127.0.0.1", port).await.expect("it listens");
            let (accepted, _) = TokioNet.accept(&mut listener).await.expect("one has connected");
            assert_eq!(sockopt::socket_keepalive(&accepted), Ok(true));
            assert_eq!(sockopt::tcp_keepidle(&accepted), Ok(TCP_KEEPALIVE));
            assert_eq!(sockopt::tcp_keepintvl(&accepted), Ok(TCP_KEEPALIVE / 3));
            assert_eq!(sockopt::tcp_keepcnt(&accepted), Ok(3));
            drop(client);
        });
        let config = crate::config::Config::default();
        assert_eq!(config.matching(&[b"tcp-keepalive"]), [("tcp-keepalive", "300".to_owned())]);
    }
}
