//! What must hold on every run, and what is said when it does not.

pub mod cycles;
pub mod final_state;
pub mod linearizable;
pub mod log_time;
pub mod memory;
pub mod messages;
pub mod promise;
pub mod quiet;
pub mod room;
pub mod service;
pub mod witness;

use std::borrow::Cow;

use crate::history::{Operation, Outcome};

/// A promise that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which check found it.
    pub check: &'static str,
    /// What it saw, for people.
    pub text: String,
}

impl Violation {
    /// See the fields.
    pub fn new(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, text: text.into() }
    }
}

/// What the judges of one history say: the witness, which has seen the log, and those that know only what the clients saw. What the
/// witness accepts the others must accept: one of them is wrong otherwise.
#[derive(Debug, Default)]
pub struct Opinions {
    /// The witness's findings.
    pub witnessed: Vec<Violation>,
    /// Findings of `linearizable.rs` and `cycles.rs`.
    pub outside: Vec<Violation>,
    /// Objects that `linearizable.rs` searched.
    pub searched: usize,
    /// Of those, the ones for which it gave up.
    pub undecided: usize,
}

impl Opinions {
    /// Asks the judges that do not see the log. `unknown_as_refused` is a planted bug of a judge: open outcomes are taken as not
    /// applied.
    pub fn of(
        operations: &[Operation],
        witnessed: Vec<Violation>,
        unknown_as_refused: bool,
    ) -> Self {
        let mut operations = Cow::Borrowed(operations);
        if unknown_as_refused {
            for operation in operations.to_mut() {
                if let Outcome::Unknown(text) = &operation.outcome {
                    operation.outcome = Outcome::NotApplied(text.clone());
                }
            }
        }
        let linearizable::Verdict { violations: mut outside, judged: searched, undecided } =
            linearizable::check(&operations);
        outside.extend(cycles::check(&operations));
        Self { witnessed, outside, searched, undecided }
    }

    /// All of it, and the disagreement, if there is one.
    pub fn together(self) -> Vec<Violation> {
        let Self { witnessed, outside, .. } = self;
        let disagreement = outside.first().filter(|_| witnessed.is_empty()).map(|refusal| {
            let text =
                format!("the witness accepts what \"{}\" refuses: {}", refusal.check, refusal.text);
            Violation::new("oracle-disagreement", text)
        });
        witnessed.into_iter().chain(outside).chain(disagreement).collect()
    }
}
