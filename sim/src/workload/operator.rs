//! An operator who wants other members, one change after the other, as `steadfast cluster` does: asks whoever leads, again and again,
//! until it says that it is so.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

use super::Shared;
use crate::client::read_reply;
use crate::plan::Members;
use crate::ports::net::{ClientStream, PEER_PORT};
use crate::value::{Argv, Value, argv, encode_command};

/// Longer than a node takes for an answer that waits for nothing.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(150);

/// Asks until the members are as wanted, however long that takes; then the same with the next wish.
pub(super) async fn work(
    mut wishes: UnboundedReceiver<Members>,
    nodes: u64,
    shared: Rc<RefCell<Shared>>,
) {
    while let Some(wish) = wishes.recv().await {
        while !is_made(wish, nodes).await {
            sleep(PAUSE).await;
        }
        shared.borrow_mut().changed += 1;
    }
}

async fn is_made(wish: Members, nodes: u64) -> bool {
    for node in 1..=nodes {
        if look_and_ask(wish, node).await {
            return true;
        }
    }
    false
}

/// Whether a node leads and says that it is so; if it leads and it is not, it is asked.
async fn look_and_ask(members: Members, node: u64) -> bool {
    let Some(Value::Bulk(info)) = ask(node, &argv([b"INFO", b"raft"])).await else { return false };
    let info = String::from_utf8_lossy(&info).into_owned();
    if !info.contains("raft_role:leader") {
        return false;
    }
    let votes = |id: u64| {
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("raft_member_{id}:")));
        line.is_some_and(|facts| facts.contains("votes=yes"))
    };
    let is_listed = |id: u64| info.contains(&format!("raft_member_{id}:"));
    let (comes, goes) = match members {
        Members::Add(id) => (Some(id), None),
        Members::Remove(id) => (None, Some(id)),
        Members::Replace { old, new } => (Some(new), Some(old)),
    };
    if comes.is_none_or(votes) && !goes.is_some_and(is_listed) {
        return true;
    }
    let words = match (comes, goes) {
        (Some(new), _) if !is_listed(new) => {
            let (id, place) = (new.to_string(), format!("n{new}:{PEER_PORT}"));
            let mut words = argv([b"RAFT", b"ADD", id.as_bytes(), place.as_bytes()]);
            if let Some(old) = goes.filter(|old| is_listed(*old)) {
                words.extend([b"REPLACES".to_vec(), old.to_string().into_bytes()]);
            }
            words
        }
        (Some(new), _) if !votes(new) => return false, // it catches up
        (_, Some(old)) if old == node => argv([b"RAFT", b"STEPDOWN"]),
        (_, Some(old)) => argv([b"RAFT", b"REMOVE", old.to_string().as_bytes()]),
        (_, None) => return false,
    };
    ask(node, &words).await;
    false
}

async fn ask(node: u64, words: &Argv) -> Option<Value> {
    let mut request = Vec::new();
    encode_command(&mut request, words);
    let asked = async {
        let mut stream = ClientStream::connect(node).await?;
        stream.write_all(&request).await?;
        read_reply(&mut stream, &mut Vec::new(), false).await
    };
    timeout(PATIENCE, asked).await.ok()?.ok()
}
