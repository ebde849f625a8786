//! Scripts that write what they draw by chance. What they draw is known to nobody; that all replicas draw the same is the whole
//! promise (`equal-state`).

use crate::history::Request;
use crate::model::scripts;

use super::Work;

impl Work {
    pub(super) async fn write_by_chance(&mut self) {
        let mut key = scripts::RANDOM_PREFIX.to_vec();
        key.extend(self.draws.below(3).to_string().bytes());
        let body = scripts::RANDOM.as_bytes();
        self.call(Request::command([b"EVAL", body, b"1", &key])).await;
    }

    pub(super) async fn fill_and_flush(&mut self) {
        let mut key = scripts::RANDOM_PREFIX.to_vec();
        key.extend(self.draws.below(20).to_string().bytes());
        let body = scripts::FLUSH.as_bytes();
        let value = vec![b'f'; self.draws.between(1, 300) as usize];
        self.call(Request::command([b"EVAL", body, b"1", &key, &value])).await;
    }
}
