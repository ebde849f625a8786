//! Channels: clients publish what nobody else does, and others listen for a while, to a channel or by a pattern, on whatever node they
//! are. The log says what each must have heard (`check/messages.rs`), and how many receivers each message had (the witness).

use std::time::Duration;

use crate::history::Request;

use super::Work;

impl Work {
    pub(super) async fn use_channels(&mut self) {
        if self.draws.chance(65) {
            let depth = self.depth();
            let mut requests = Vec::new();
            for _ in 0..depth {
                let (channel, payload) = (self.key("channel"), self.sized());
                requests.push(Request::command([b"PUBLISH", &channel, &payload]));
            }
            self.send(requests).await;
            return;
        }
        let channel = self.key("channel");
        let (words, text): ([&[u8]; 2], &[u8]) = if self.draws.chance(40) {
            ([b"PSUBSCRIBE", b"PUNSUBSCRIBE"], b"channel:*")
        } else {
            ([b"SUBSCRIBE", b"UNSUBSCRIBE"], &channel)
        };
        let [begin, end] = words.map(|word| Request::command([word, text]));
        let end = self.draws.chance(60).then_some(end);
        let time = Duration::from_millis(self.draws.between(20, 600));
        let outcomes = self.client.listen(begin, end, time).await;
        for outcome in &outcomes {
            self.tally(outcome);
        }
        if let Some(last) = outcomes.last() {
            self.step_aside(last).await;
        }
    }
}
