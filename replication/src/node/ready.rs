//! What raft puts out, made this node's own: what is to be written, sent and applied, and what has to wait for the disk.

use std::time::Duration;

use bytes::Bytes;
use raft::StateRole;
use raft::eraftpb::{self, MessageType};
use steadfast_core::canary::{Canary, is_planted};

use super::{Node, Unpersisted};
use crate::event::Output;
use crate::gateway::Committed;
use crate::session::stamp_of;
use crate::storage::HardState;
use crate::wire::{self, RaftMessage};

impl Node {
    /// One ready of raft.
    pub(super) fn ready(&mut self, now: Duration) {
        let mut ready = self.raw.ready();
        let number = ready.number();
        for message in ready.take_messages() {
            self.send(now, message);
        }
        for state in ready.take_read_states() {
            self.index_known(now, &state.request_ctx, state.index);
        }
        let mut settles = last_change(ready.committed_entries());
        let now_known = (settles > 0).then(|| self.raw.raft.hard_state());
        let hard_state = ready.hs().or(now_known.as_ref()).map(|hs| {
            self.raw.mut_store().set_hard_state(hs);
            HardState { term: hs.term, vote: hs.vote, commit: hs.commit }
        });
        let entries = ready.take_entries();
        let mut written = hard_state.is_some() || !entries.is_empty();
        let voted = hard_state.map(|hard_state| (hard_state.term, hard_state.vote));
        let mut hard_state = hard_state;
        if !ready.snapshot().is_empty() {
            let index = ready.snapshot().get_metadata().index;
            let received = self.received.take().filter(|(meta, _)| meta.index == index);
            let Some((meta, chunks)) = received else {
                return self
                    .fatal(format!("raft took on a snapshot of entry {index} that never came"));
            };
            self.raw.mut_store().install(meta.clone());
            (self.committed, self.admitted) = (None, None);
            settles = settles.max(index);
            self.handed_out = index;
            self.log_bytes = 0;
            written = true;
            let hard_state = hard_state.take();
            // Entries that came with it are written behind it: only their report ends this ready.
            let durable = if entries.is_empty() { number } else { number - 1 };
            self.outputs.push_back(Output::Install { number: durable, meta, chunks, hard_state });
        }
        if !entries.is_empty() || hard_state.is_some() {
            self.persist(number, &entries, hard_state, settles > 0);
        }
        let committed = ready.take_committed_entries();
        let mut messages = ready.take_persisted_messages();
        let early = messages.extract_if(.., |m| leaves_early(m) || self.is_no_promise(m));
        early.collect::<Vec<_>>().into_iter().for_each(|message| self.send(now, message));
        self.raw.advance_append_async(ready);
        self.hand_out(committed);
        let (since, through) = (self.ticks, number);
        let ready = Unpersisted { number, through, since, written, messages, settles, voted };
        match self.unpersisted.back_mut() {
            // However long a disk stands still, heartbeats do not fill the queue.
            Some(before) if !written => {
                before.through = number;
                before.messages.extend(ready.messages);
            }
            _ => self.unpersisted.push_back(ready),
        }
        if is_planted(Canary::AckBeforeFsync) {
            self.persisted(now, number);
        }
        if self.unpersisted.front().is_some_and(|first| !first.written) {
            self.persisted(now, 0);
        }
    }

    /// Whether a message says nothing of what this node has not written. An answer to a heartbeat says that it follows in a term: if it had
    /// to wait for a disk, a leader whose followers' disks stand still for a moment (they save a snapshot, say) would step down.
    fn is_no_promise(&self, message: &eraftpb::Message) -> bool {
        message.get_msg_type() == MessageType::MsgHeartbeatResponse
            && message.term <= self.durable_vote.0
            && !is_planted(Canary::BeatsAwaitDisk)
    }

    fn persist(
        &mut self,
        number: u64,
        entries: &[eraftpb::Entry],
        hard_state: Option<HardState>,
        vital: bool,
    ) {
        for entry in entries {
            self.log_bytes += entry.data.len() as u64 + 32;
            if let Some(stamp) = stamp_of(&entry.data) {
                self.clock.saw_stamp(stamp);
            }
        }
        self.raw.mut_store().append(entries);
        let entries = entries.iter().map(wire::log_entry).collect();
        self.outputs.push_back(Output::Persist { number, entries, hard_state, vital });
    }

    pub(super) fn hand_out(&mut self, entries: Vec<eraftpb::Entry>) {
        if entries.is_empty() {
            return;
        }
        let mut out = Vec::with_capacity(entries.len());
        for entry in entries {
            if !self.changes.held_back.is_empty() || self.removes_leader(&entry) {
                self.changes.held_back.push(entry);
                continue;
            }
            let is_change = is_change(&entry);
            if is_change && let Err(text) = self.apply_change(&entry) {
                return self.fatal(text);
            }
            if let Some(sessions) = self.committed.as_mut().filter(|_| !is_change) {
                sessions.follow(&entry.data);
            }
            self.handed_out = entry.index;
            let payload = if is_change { Bytes::new() } else { entry.data };
            out.push(Committed { index: entry.index, term: entry.term, payload });
        }
        if !out.is_empty() {
            self.outputs.push_back(Output::Apply { entries: out });
        }
    }

    /// A leader's messages carry its log time, and answers to candidates what their sender knows of it: a new leader goes on
    /// from there.
    pub(super) fn send(&mut self, now: Duration, message: eraftpb::Message) {
        let kind = message.get_msg_type();
        let word = match kind {
            MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => {
                self.clock.word(now)
            }
            _ if self.raw.raft.state == StateRole::Leader => self.clock.leaders_word(now),
            _ => None,
        };
        if kind == MessageType::MsgTimeoutNow {
            self.lease.give_up(); // and that is published before the message leaves
        }
        let message = RaftMessage::from_raft(message);
        self.outputs.push_back(if kind == MessageType::MsgSnapshot {
            Output::SendSnapshot { message }
        } else {
            Output::Send { message, word }
        });
    }
}

/// Whether an entry changes who is a member, and is not for the state machine.
pub(super) fn is_change(entry: &eraftpb::Entry) -> bool {
    entry.get_entry_type() != eraftpb::EntryType::EntryNormal
}

/// The last of these entries that does; 0 if none.
fn last_change(entries: &[eraftpb::Entry]) -> u64 {
    entries.iter().rfind(|entry| is_change(entry)).map_or(0, |entry| entry.index)
}

/// Planted bugs: messages that promise something and leave before it is durable.
fn leaves_early(message: &eraftpb::Message) -> bool {
    let votes = [MessageType::MsgRequestVote, MessageType::MsgRequestVoteResponse];
    is_planted(Canary::AnswerBeforeFsync)
        || is_planted(Canary::VoteBeforeFsync) && votes.contains(&message.get_msg_type())
}
