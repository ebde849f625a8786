//! A client of the simulation: sends one command at a time and says what became of it. It never retries one whose outcome it
//! does not know.

use std::io;
use std::time::Duration;

use steadfast_core::reply::Reply;
use steadfast_server::resp::read_reply;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use turmoil::net::TcpStream;

use crate::net::CLIENT_PORT;
use crate::trace::{SharedTrace, note, readable};

/// Longer than any request may wait in a node.
const PATIENCE: Duration = Duration::from_secs(12);
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);

/// What became of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was answered.
    Reply(Reply<'static>),
    /// Refused: definitely not applied.
    NotApplied,
    /// The connection broke, or the node could not say.
    Unknown,
}

/// See the file's head.
pub struct Client {
    name: String,
    node: String,
    stream: Option<TcpStream>,
    trace: SharedTrace,
}

impl Client {
    /// A client of one node.
    pub fn new(name: String, node: String, trace: SharedTrace) -> Self {
        Self { name, node, stream: None, trace }
    }

    /// Sends one command and waits for what becomes of it.
    pub async fn call(&mut self, argv: &[&[u8]]) -> Outcome {
        let words: Vec<String> = argv.iter().map(|word| readable(word)).collect();
        let outcome = self.attempt(argv).await;
        if outcome == Outcome::Unknown {
            self.stream = None;
        }
        note(&self.trace, &self.name, &format!("{} -> {outcome:?}", words.join(" ")));
        outcome
    }

    async fn attempt(&mut self, argv: &[&[u8]]) -> Outcome {
        if self.stream.is_none() {
            let connect = TcpStream::connect((self.node.as_str(), CLIENT_PORT));
            match timeout(CONNECT_PATIENCE, connect).await {
                Ok(Ok(stream)) => self.stream = Some(stream),
                _ => return Outcome::NotApplied,
            }
        }
        let Some(stream) = &mut self.stream else { return Outcome::NotApplied };
        match timeout(PATIENCE, exchange(stream, argv)).await {
            Ok(Ok(Reply::Error(error))) => {
                let refused: [&[u8]; 3] = [b"CLUSTERDOWN ", b"TRYAGAIN ", b"LOADING "];
                if refused.iter().any(|code| error.text().starts_with(code)) {
                    Outcome::NotApplied
                } else if error.text().starts_with(b"UNKNOWN ") {
                    Outcome::Unknown
                } else {
                    Outcome::Reply(Reply::Error(error))
                }
            }
            Ok(Ok(reply)) => Outcome::Reply(reply),
            _ => Outcome::Unknown,
        }
    }
}

async fn exchange(stream: &mut TcpStream, argv: &[&[u8]]) -> io::Result<Reply<'static>> {
    let mut request = format!("*{}\r\n", argv.len()).into_bytes();
    for word in argv {
        request.extend(format!("${}\r\n", word.len()).into_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    stream.write_all(&request).await?;
    let mut input = Vec::new();
    loop {
        match read_reply(&input) {
            Ok(Some((reply, _))) => return Ok(reply),
            Ok(None) => {}
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        input.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
}
