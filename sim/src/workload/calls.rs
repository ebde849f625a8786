//! What the world asks of the clients' host while the clients work, and when they are done: storms of visitors, and at the end whether
//! each node serves.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::storm::Storm;
use super::{Shared, now, operator};
use crate::check::Violation;
use crate::client::{Client, MALFORMED, Notebook, read_reply};
use crate::draw::Draws;
use crate::history::Request;
use crate::plan::Members;
use crate::ports::net::ClientStream;
use crate::value::{Value, argv, encode_command};

/// Nothing but this is asked at the end.
const KEY: &[u8] = b"asked";
/// All is healed and at rest: each node serves within this time, however often it is asked until then.
const SERVES_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
/// A node says within this time that it does not serve; none lets a request wait for longer.
const REFUSES_WITHIN: Duration = Duration::from_secs(12);

/// What is asked.
#[derive(Debug, Clone)]
pub enum Call {
    /// Many clients at once.
    Storm(Storm),
    /// Other members.
    Change(Members),
    /// Whether each of these nodes serves. It is the last call.
    Ask {
        /// Nodes that must be well: each takes a write and answers a read.
        well: Vec<u64>,
        /// Nodes with disks that were spoilt, which run all the same: each answers a read or refuses it. What it answers is judged as
        /// any client's read is.
        spoilt: Vec<u64>,
    },
}

/// Who attends to calls.
pub struct Attendant {
    /// Of the run.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: u64,
    /// What all know.
    pub shared: Rc<RefCell<Shared>>,
    /// The client that asks at the end.
    pub client: Client,
}

impl Attendant {
    /// One that asks under this name.
    pub fn new(
        seed: u64,
        nodes: u64,
        shared: Rc<RefCell<Shared>>,
        name: String,
        notebook: Notebook,
    ) -> Self {
        Self { seed, nodes, shared, client: Client::new(name, 1, notebook) }
    }

    /// Attends until the last call.
    pub async fn attend(mut self, mut calls: UnboundedReceiver<Call>) {
        let (wishes, wished) = unbounded_channel();
        drop(spawn_local(operator::work(wished, self.nodes, Rc::clone(&self.shared))));
        while let Some(call) = calls.recv().await {
            match call {
                Call::Storm(storm) => self.let_in(storm),
                Call::Change(members) => drop(wishes.send(members)), // the operator works on until all is over
                Call::Ask { well, spoilt } => {
                    let (mut found, mut silent) = (Vec::new(), Vec::new());
                    for node in well {
                        found.extend(self.is_served(node).await.err());
                    }
                    for node in spoilt {
                        if !self.is_answered(node).await {
                            silent.push(node);
                        }
                    }
                    let found = found.into_iter().map(|text| Violation::new("service", text));
                    let mut shared = self.shared.borrow_mut();
                    shared.violations.extend(found);
                    shared.silent = Some(silent);
                    return;
                }
            }
        }
    }

    fn let_in(&self, storm: Storm) {
        for visitor in 0..storm.visitors {
            let draws = Draws::new(self.seed, format!("storm {} visitor {visitor}", storm.number));
            let shared = Rc::clone(&self.shared);
            spawn_local(async move {
                let found = storm.visit(visitor, draws).await.and_then(|said| storm.judge(&said));
                shared.borrow_mut().violations.extend(found);
            });
        }
    }

    /// A node takes a write and answers a read.
    async fn is_served(&mut self, node: u64) -> Result<(), String> {
        self.client.move_to(node);
        let until = now() + SERVES_WITHIN;
        for words in [argv([b"SET", KEY, node.to_string().as_bytes()]), argv([b"GET", KEY])] {
            let request = Request::Command(words);
            loop {
                let outcome = self.client.call(request.clone()).await;
                if outcome.reply().is_some() {
                    break;
                }
                if now() > until {
                    let (request, outcome) = (request.readable(), outcome.readable());
                    return Err(format!(
                        "all is at rest, and n{node} does not serve {request} within {SERVES_WITHIN:?}: {outcome}"
                    ));
                }
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// A node answers a read, which goes into the history, or refuses.
    async fn is_answered(&mut self, node: u64) -> bool {
        self.client.move_to(node);
        let until = now() + SERVES_WITHIN;
        while now() < until {
            let read = Request::Command(argv([b"GET", KEY]));
            if self.client.call(read).await.reply().is_some() || is_refused(node).await {
                return true;
            }
            sleep(PAUSE).await;
        }
        false
    }
}

/// Whether a node says that it does not serve.
async fn is_refused(node: u64) -> bool {
    let mut request = Vec::new();
    encode_command(&mut request, &argv([b"GET", KEY]));
    let asked = async {
        let mut stream = ClientStream::connect(node).await?;
        stream.write_all(&request).await?;
        read_reply(&mut stream, &mut Vec::new(), false).await
    };
    matches!(timeout(REFUSES_WITHIN, asked).await, Ok(Ok(Value::Error(text))) if text != MALFORMED)
}
