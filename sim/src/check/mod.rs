//! What must hold on every run, and what is said when it does not.

pub mod final_state;
pub mod linearizable;
pub mod log_time;
pub mod promise;
pub mod witness;

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
