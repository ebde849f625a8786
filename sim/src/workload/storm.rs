//! Storms of clients: very many connect to one node at the same moment, and most of them behave badly. Some hang up at once, some inside
//! a command, some ask and never read, and a few ask for very much and never read. Nobody is served worse for it for long: that is what
//! the clients who work see to. Of the visitors themselves each whole reply must be one that the node may give, and where nothing else
//! breaks whoever asks must be answered.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use crate::check::Violation;
use crate::client::{MALFORMED, read_reply};
use crate::draw::Draws;
use crate::ports::net::ClientStream;
use crate::value::{Value, argv, encode_command};

/// Who stays this long after the storm and has no answer, was not served.
const PATIENCE: Duration = Duration::from_secs(3);
/// Commands that are sent by those who never read: more than what fits into a small output.
const UNREAD: usize = 50;
/// The first visitors of a storm ask for so much, and take nothing of it.
pub const GREEDY: u64 = 2;
const GREEDY_COMMANDS: usize = 1000;
/// The part of a command that is all some visitors send.
const PART: &[u8] = b"*2\r\n$3\r\nGET\r\n$100\r\nregist";

/// A storm.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// The node that it comes over.
    pub node: u64,
    /// How many connect.
    pub visitors: u64,
    /// How long they stay.
    pub stays: Duration,
    /// The fault's number, which names the streams of chance.
    pub number: u32,
    /// The cluster has formed, and nothing else breaks: whoever asks must be answered.
    pub strict: bool,
}

impl Storm {
    /// Answers what the visitor was told, if it asked for something and stayed to hear it; that there was no answer is an error.
    pub(super) async fn visit(self, visitor: u64, mut draws: Draws) -> Option<io::Result<Value>> {
        let Self { node, stays, .. } = self;
        let connect = ClientStream::connect(node);
        let mut stream = match timeout(stays + PATIENCE, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Some(Err(error)),
            Err(_) => return Some(Err(io::ErrorKind::TimedOut.into())),
        };
        let stays = Duration::from_millis(draws.between(1, stays.as_millis() as u64));
        let mut bytes = Vec::new();
        match draws.below(5) {
            _ if visitor < GREEDY => {
                // Some tens of thousands of bytes each, which the node knows without asking anybody.
                let command = argv([b"COMMAND", b"DOCS"]);
                (0..GREEDY_COMMANDS).for_each(|_| encode_command(&mut bytes, &command));
            }
            0 => return None, // hangs up at once
            1 => bytes.extend_from_slice(PART),
            2 => {
                let command = argv([b"GET", b"nobody's"]);
                (0..UNREAD).for_each(|_| encode_command(&mut bytes, &command));
            }
            _ => {
                encode_command(&mut bytes, &argv([b"PING"]));
                let asked = async {
                    stream.write_all(&bytes).await?;
                    read_reply(&mut stream, &mut Vec::new(), false).await
                };
                let said = timeout(stays + PATIENCE, asked).await;
                return Some(said.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())));
            }
        }
        // Whether it is taken or not: this one does not look.
        let _ = stream.write_all(&bytes).await;
        sleep(stays).await;
        None
    }

    pub(super) fn judge(self, said: &io::Result<Value>) -> Option<Violation> {
        let Self { node, number, .. } = self;
        let about = format!("a visitor of storm {number} that asked n{node}");
        match said {
            Ok(Value::Simple(text)) if text == "PONG" => None,
            // Refused, where something breaks: it may be starting.
            Ok(Value::Error(text)) if !self.strict && text != MALFORMED => None,
            Ok(other) => {
                let text = format!("{about} was answered {}", other.readable());
                Some(Violation::new("protocol", text))
            }
            Err(error) if self.strict => {
                Some(Violation::new("service", format!("{about} was not answered: {error}")))
            }
            Err(_) => None,
        }
    }
}
