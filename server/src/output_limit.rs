//! How much output a client may leave untaken before its connection ends, by class, in the form of Redis's
//! `client-output-buffer-limit`. Messages come without being asked for, so subscribers have a limit that ordinary replies do not need:
//! those stop by themselves, since no further command of a client runs while it does not take its replies.

use std::time::Duration;

use crate::config::parse_memory;

/// One class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    /// Bytes beyond which the connection ends at once; 0 for none.
    pub hard_bytes: u64,
    /// Bytes beyond which it ends when they have been exceeded for longer than `soft_time`; 0 for none.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_time: Duration,
}

/// All classes that can be set. Nothing here has replicas as Redis has them: theirs is kept for whoever sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// `slave`.
    pub replica: OutputLimit,
    /// `pubsub`.
    pub pubsub: OutputLimit,
}

impl Default for OutputLimits {
    /// Redis's.
    fn default() -> Self {
        let limit = |hard_bytes, soft_bytes| OutputLimit {
            hard_bytes,
            soft_bytes,
            soft_time: Duration::from_secs(60),
        };
        Self { replica: limit(256 << 20, 64 << 20), pubsub: limit(32 << 20, 8 << 20) }
    }
}

impl OutputLimit {
    fn show(self) -> String {
        format!("{} {} {}", self.hard_bytes, self.soft_bytes, self.soft_time.as_secs())
    }
}

impl OutputLimits {
    /// As CONFIG GET tells them.
    pub fn show(self) -> String {
        format!("normal 0 0 0 slave {} pubsub {}", self.replica.show(), self.pubsub.show())
    }

    /// These, with the classes that `text` names: `class hard soft seconds`, once or several times.
    ///
    /// # Errors
    /// Redis's words for what is wrong; nothing is changed then.
    pub fn with(mut self, text: &str) -> Result<Self, &'static str> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (classes, []) = words.as_chunks::<4>() else {
            return Err("Wrong number of arguments in buffer limit configuration.");
        };
        for [class, hard, soft, seconds] in classes {
            let class = class.to_ascii_lowercase();
            if !["normal", "slave", "replica", "pubsub"].contains(&&*class) {
                return Err("Invalid client class specified in buffer limit configuration.");
            }
            let limit = parse(hard, soft, seconds).ok_or(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            )?;
            match &*class {
                "pubsub" => self.pubsub = limit,
                "normal" if limit == OutputLimit::default() => {}
                "normal" => {
                    return Err(
                        "normal clients have a limit here that can't be set: say normal 0 0 0",
                    );
                }
                _ => self.replica = limit,
            }
        }
        Ok(self)
    }
}

fn parse(hard: &str, soft: &str, seconds: &str) -> Option<OutputLimit> {
    let memory = |text: &str| {
        parse_memory(text).filter(|_| text.starts_with(|first: char| first.is_ascii_digit()))
    };
    let seconds = seconds.parse::<u32>().ok()?;
    Some(OutputLimit {
        hard_bytes: memory(hard)?,
        soft_bytes: memory(soft)?,
        soft_time: Duration::from_secs(u64::from(seconds)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Classes are set one by one or together, and all or none.
    #[test]
    fn classes_are_set() {
        let limits = OutputLimits::default();
        let text = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert_eq!(limits.show(), text);
        assert_eq!(limits.with(text), Ok(limits));
        let changed = limits.with("pubsub 1mb 2k 3 REPLICA 4 5 6").expect("it is well formed");
        assert_eq!(changed.show(), "normal 0 0 0 slave 4 5 6 pubsub 1048576 2000 3");
        for (text, why) in [
            ("pubsub 1mb 0", "Wrong number"),
            ("foo 1 2 3", "Invalid client class"),
            ("master 1 2 3", "Invalid client class"),
            ("pubsub x 0 0", "Error in hard"),
            ("pubsub 1 -1 0", "Error in hard"),
            ("pubsub 1 1 x", "Error in hard"),
            ("normal 1 1 1", "can't be set"),
        ] {
            let error = limits.with(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
