//! Panics of a run. A task of a node that panics ends alone and is never heard of again, so a hook notes down every panic of the
//! thread that runs the world, also those that the product contains: no workload may make it panic.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

use crate::ports::heap;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Begins to watch this thread, and forgets what it saw before.
pub fn watch() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            // What a backtrace takes (the symbols of the whole binary) is not the node's that panics.
            let _turn = heap::outside();
            // Without the storage the thread is ending, and its run is over.
            let _ = SEEN.try_with(|seen| seen.borrow_mut().push(panicked.to_string()));
            before(panicked);
        }));
    });
    drop(take());
}

/// What panicked since the last call, the first first.
pub fn take() -> Vec<String> {
    SEEN.with(RefCell::take)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic that its own task swallows is seen, once, and by its own thread alone.
    #[test]
    fn a_swallowed_panic_is_seen() {
        watch();
        let caught = panic::catch_unwind(|| panic!("a planted one"));
        assert!(caught.is_err());
        assert!(std::thread::spawn(take).join().expect("it only looks").is_empty());
        let seen = take();
        assert!(seen.len() == 1 && seen.iter().all(|text| text.contains("a planted one")));
        assert!(take().is_empty());
    }
}
