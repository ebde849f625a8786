//! What nodes speak to each other over: TCP, or TLS if they are told so. With TLS each side proves by a certificate of the cluster's
//! own authority that it belongs to it; the one that is called, besides, that it is the host that was meant.
//!
//! `rustls` does it: a TLS that is safe by its defaults, kept up and audited. Of its two cryptographic backends `ring` is used, which
//! needs nothing to be built with that Lua does not need as well.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use steadfast_replication::ports::Net;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    ServerConnection, crypto,
};
use tokio_rustls::{Accept, TlsAcceptor, TlsConnector, TlsStream};

use super::net::TokioNet;
use crate::config::TlsFiles;

/// Bytes that a session takes before they are written: links are patient for a step, and this is one.
const SESSION_BYTES_MAX: usize = 16 << 10;

/// See the file's head.
#[derive(Clone, Default)]
pub struct PeerNet {
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    accepts: TlsAcceptor,
    connects: TlsConnector,
}

impl PeerNet {
    /// Reads certificates, and the key; without any there is no TLS.
    ///
    /// # Errors
    /// A sentence that names the file that can't be used.
    pub fn new(files: Option<&TlsFiles>) -> Result<Self, String> {
        let tls = files.map(Tls::load).transpose()?;
        Ok(Self { tls })
    }
}

/// What is wrong with a file.
fn unusable(flag: &str, path: &str, why: impl std::fmt::Display) -> String {
    format!(
        "cannot use --{flag} {path}: {why}. Nothing was changed. Give a file in PEM form that this process may read"
    )
}

fn certificates(flag: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path);
    let read = read.and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Err(error) => Err(unusable(flag, path, error)),
        Ok(none) if none.is_empty() => Err(unusable(flag, path, "there is no certificate in it")),
        Ok(some) => Ok(some),
    }
}

impl Tls {
    fn load(files: &TlsFiles) -> Result<Self, String> {
        let TlsFiles { certificate, key, authority } = files;
        let chain = certificates("tls-cert-file", certificate)?;
        let secret = || {
            let read = PrivateKeyDer::from_pem_file(key);
            read.map_err(|error| unusable("tls-key-file", key, error))
        };
        let mut roots = RootCertStore::empty();
        for root in certificates("tls-ca-cert-file", authority)? {
            let added = roots.add(root);
            added.map_err(|error| unusable("tls-ca-cert-file", authority, error))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(crypto::ring::default_provider());
        let no_authority = |error| unusable("tls-ca-cert-file", authority, error);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let verifier = verifier.build().map_err(|error| no_authority(error.to_string()))?;
        let mismatch = |error| {
            unusable(
                "tls-key-file",
                key,
                format!("with {certificate} it gives no identity ({error})"),
            )
        };
        let versions = "this build knows the versions of TLS that are safe";
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect(versions)
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), secret()?)
            .map_err(mismatch)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect(versions)
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, secret()?)
            .map_err(mismatch)?;
        let (accepts, connects) = (Arc::new(server).into(), Arc::new(client).into());
        Ok(Self { accepts, connects })
    }
}

/// A stream between nodes. One that was accepted shakes hands when it is first used, so that nobody else waits for it.
pub struct PeerStream(State);

enum State {
    Plain(TcpStream),
    Accepting(Box<Accept<TcpStream>>),
    Secure(Box<TlsStream<TcpStream>>),
    Refused,
}

/// What every peer that can't be trusted is told apart by: it is no failure of the network.
fn untrusted(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("no TLS with it: {why}"))
}

/// An error of the stream; what TLS finds wrong with the other end becomes `untrusted`, in words that are the same each time.
fn told_apart(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::InvalidData {
        return error;
    }
    let found = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    match found {
        Some(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })) => {
            untrusted("its certificate has ended")
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            ..
        })) => untrusted("its certificate does not count yet: compare the clocks"),
        _ => untrusted(error),
    }
}

impl Net for PeerNet {
    type Stream = PeerStream;
    type Listener = TcpListener;

    async fn bind(&self, host: &str, port: u16) -> io::Result<TcpListener> {
        TokioNet.bind(host, port).await
    }

    async fn accept(&self, listener: &mut TcpListener) -> io::Result<(PeerStream, SocketAddr)> {
        let (stream, address) = TokioNet.accept(listener).await?;
        let state = match &self.tls {
            None => State::Plain(stream),
            Some(tls) => {
                let bounded = |session: &mut ServerConnection| {
                    session.set_buffer_limit(Some(SESSION_BYTES_MAX));
                };
                State::Accepting(Box::new(tls.accepts.accept_with(stream, bounded)))
            }
        };
        Ok((PeerStream(state), address))
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<PeerStream> {
        let stream = TokioNet.connect(host, port).await?;
        let Some(tls) = &self.tls else { return Ok(PeerStream(State::Plain(stream))) };
        let name = ServerName::try_from(host.to_owned()).map_err(untrusted)?;
        let bounded =
            |session: &mut ClientConnection| session.set_buffer_limit(Some(SESSION_BYTES_MAX));
        match tls.connects.connect_with(name, stream, bounded).await {
            Ok(stream) => Ok(PeerStream(State::Secure(Box::new(stream.into())))),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                    untrusted("it ended the stream; does it run with --tls-cluster yes?")
                }
                _ => told_apart(error),
            }),
        }
    }
}

/// What can be read and written.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl PeerStream {
    /// The stream to use, once hands have been shaken.
    fn ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&mut dyn Duplex>> {
        if let State::Accepting(accept) = &mut self.0 {
            let shaken = ready!(Pin::new(&mut **accept).poll(context));
            self.0 = State::Refused;
            let stream = shaken.map_err(told_apart)?;
            self.0 = State::Secure(Box::new(stream.into()));
        }
        Poll::Ready(match &mut self.0 {
            State::Plain(stream) => Ok(stream),
            State::Secure(stream) => Ok(&mut **stream),
            State::Accepting(_) | State::Refused => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = ready!(self.ready(context))?;
        // Whether the other end takes a caller's certificate shows only here.
        Pin::new(stream).poll_read(context, buffer).map_err(told_apart)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = ready!(self.ready(context))?;
        Pin::new(stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = ready!(self.ready(context))?;
        Pin::new(stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = ready!(self.ready(context))?;
        Pin::new(stream).poll_shutdown(context)
    }
}
