//! A process that can be stopped and continued (SIGSTOP, a long garbage collection, a stalled machine): while paused nothing
//! of it is polled; its timers run on, and all that became due fires when it continues. A process whose gate was closed under it
//! has died in the middle of a turn: it is never polled again, and what that turn came to is not heard of.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::ports::gate::Gate;

/// The switch.
#[derive(Debug, Default)]
pub struct PauseSwitch {
    paused: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl PauseSwitch {
    /// Stops or continues.
    pub fn set(&self, paused: bool) {
        self.paused.set(paused);
        if !paused && let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether it is stopped.
    pub fn is_paused(&self) -> bool {
        self.paused.get()
    }
}

/// A future under a switch.
pub struct Pausable<F> {
    inner: Pin<Box<F>>,
    switch: Rc<PauseSwitch>,
    gate: Gate,
}

impl<F> Pausable<F> {
    /// Puts `inner` under `switch`.
    pub fn new(inner: F, switch: Rc<PauseSwitch>) -> Self {
        Self { inner: Box::pin(inner), switch, gate: Gate::default() }
    }

    /// It dies with this gate.
    #[must_use]
    pub fn behind(self, gate: Gate) -> Self {
        Self { gate, ..self }
    }
}

impl<F: Future> Future for Pausable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.switch.is_paused() {
            *self.switch.waker.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        }
        if self.gate.is_closed() {
            return Poll::Pending;
        }
        let turn = self.inner.as_mut().poll(context);
        if self.gate.is_closed() { Poll::Pending } else { turn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing runs while paused; what was due runs on resume.
    #[test]
    fn nothing_runs_while_paused() {
        let switch = Rc::new(PauseSwitch::default());
        let ran = Rc::new(Cell::new(0));
        let counted = Rc::clone(&ran);
        let mut work = Pausable::new(async move { counted.set(1) }, Rc::clone(&switch));
        let mut context = Context::from_waker(Waker::noop());
        switch.set(true);
        assert!(Pin::new(&mut work).poll(&mut context).is_pending() && ran.get() == 0);
        switch.set(false);
        assert!(Pin::new(&mut work).poll(&mut context).is_ready() && ran.get() == 1);
    }

    /// Whoever dies in the middle of a turn neither ends nor runs again.
    #[test]
    fn nothing_comes_of_a_dead_process() {
        let gate = Gate::default();
        let dies = gate.clone();
        let work = async move { dies.close() };
        let mut work = Pausable::new(work, Rc::default()).behind(gate);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut work).poll(&mut context).is_pending());
        assert!(Pin::new(&mut work).poll(&mut context).is_pending());
    }
}
