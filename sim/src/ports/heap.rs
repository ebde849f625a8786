//! The heap of each node. All nodes of a run share a process; whatever is allocated while a node takes its turn is allocated in its name.
//! A byte in front of each piece of memory says in whose, for it may be freed in another's turn.
//!
//! It counts only in a binary whose global allocator is `Tagged`, and per thread, as a run has one. What stands for the outside of a
//! node (its disk, the network, the trace) is in nobody's name.
#![allow(unsafe_code)] // an allocator: docs/decisions/2026-11-26-a-heap-for-each-node.md

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::ptr::null_mut;
use std::task::{Context, Poll};

/// Nodes that are told apart, and nobody.
const OWNERS: usize = 16;
/// In front of each piece; more where more is needed for its alignment.
const HEAD_BYTES: usize = 8;

/// What an owner holds.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    /// Bytes. What was allocated before the counting began may be freed in it.
    held: isize,
    /// The most that it was.
    peak: isize,
}

thread_local! {
    static OWNER: Cell<u8> = const { Cell::new(0) };
    static ACCOUNTS: [Cell<Account>; OWNERS] =
        const { [const { Cell::new(Account { held: 0, peak: 0 }) }; OWNERS] };
}

fn count(owner: u8, bytes: isize) {
    ACCOUNTS.with(|accounts| {
        if let Some(account) = accounts.get(usize::from(owner)) {
            let Account { held, peak } = account.get();
            let held = held + bytes;
            account.set(Account { held, peak: held.max(peak) });
        }
    });
}

/// A run begins: nobody holds anything.
pub fn reset() {
    ACCOUNTS.with(|accounts| accounts.iter().for_each(|account| account.set(Account::default())));
}

/// The most bytes that a node has held at once in this thread.
pub fn peak(node: u64) -> u64 {
    let peak =
        ACCOUNTS.with(|accounts| accounts.get(owner(node)).map(|account| account.get().peak));
    peak.map_or(0, |peak| peak.max(0) as u64)
}

fn owner(node: u64) -> usize {
    usize::try_from(node).ok().filter(|owner| *owner < OWNERS).unwrap_or(0)
}

/// As long as it lives what is allocated is in somebody's name.
#[must_use]
pub struct Turn {
    before: u8,
}

/// A node's turn.
fn turn_of(node: u64) -> Turn {
    Turn { before: OWNER.replace(owner(node) as u8) }
}

/// A turn of what stands for the outside of a node.
pub fn outside() -> Turn {
    turn_of(0)
}

impl Drop for Turn {
    fn drop(&mut self) {
        OWNER.set(self.before);
    }
}

/// A node's work, whose turns are the node's.
pub struct Work<F> {
    node: u64,
    work: Pin<Box<F>>,
}

impl<F> Work<F> {
    /// Work of this node.
    pub fn of(node: u64, work: F) -> Self {
        Self { node, work: Box::pin(work) }
    }
}

impl<F: Future> Future for Work<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _turn = turn_of(self.node);
        self.work.as_mut().poll(context)
    }
}

/// An allocator that counts for whom it allocates.
#[derive(Debug)]
pub struct Tagged<A>(pub A);

/// The layout with a head, and the size of that.
fn with_head(layout: Layout) -> Option<(Layout, usize)> {
    let head = layout.align().max(HEAD_BYTES);
    let bytes = layout.size().checked_add(head)?;
    Layout::from_size_align(bytes, layout.align()).ok().map(|outer| (outer, head))
}

/// The piece behind the head, in the name of whose turn it is.
///
/// # Safety
/// `base` is null, or begins a piece of `head + bytes` bytes.
unsafe fn tagged(base: *mut u8, head: usize, bytes: usize) -> *mut u8 {
    if base.is_null() {
        return base;
    }
    let owner = OWNER.get();
    count(owner, bytes as isize);
    // SAFETY: the head is one byte long at least, and in front of the piece.
    unsafe {
        let piece = base.add(head);
        piece.sub(1).write(owner);
        piece
    }
}

// SAFETY: each piece is one of the inner allocator, whose head the caller does not see. The head is a multiple of the alignment (both are
// powers of two, and the head is no smaller), so that the piece is aligned as the inner allocator's is.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Tagged<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((outer, head)) = with_head(layout) else { return null_mut() };
        // SAFETY: `outer` is not empty.
        unsafe { tagged(self.0.alloc(outer), head, layout.size()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some((outer, head)) = with_head(layout) else { return null_mut() };
        // SAFETY: `outer` is not empty.
        unsafe { tagged(self.0.alloc_zeroed(outer), head, layout.size()) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        let Some((outer, head)) = with_head(layout) else { return }; // then it was not allocated either
        // SAFETY: the piece came from here with this layout, so there is a head in front of it.
        unsafe {
            count(piece.sub(1).read(), -(layout.size() as isize));
            self.0.dealloc(piece.sub(head), outer);
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let Some((outer, head)) = with_head(layout) else { return null_mut() };
        let larger = Layout::from_size_align(bytes, layout.align()).ok().and_then(with_head);
        let Some((larger, _)) = larger else { return null_mut() };
        // SAFETY: as above; the head moves with what is behind it, and `larger` is a layout, so its size is not too large.
        unsafe {
            let owner = piece.sub(1).read();
            let base = self.0.realloc(piece.sub(head), outer, larger.size());
            if base.is_null() {
                return base;
            }
            count(owner, bytes as isize - layout.size() as isize);
            base.add(head)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    const HEAP: Tagged<System> = Tagged(System);

    fn held(node: usize) -> isize {
        ACCOUNTS.with(|accounts| accounts[node].get().held)
    }

    /// Each piece counts for whose turn it was, until it is freed in whoever's; contents and alignment are what was asked for.
    #[test]
    fn pieces_count_for_their_owner() {
        reset();
        let layout = |bytes, align| Layout::from_size_align(bytes, align).expect("it is one");
        for align in [1, 8, 16, 64, 4096] {
            let before = held(3);
            // SAFETY: each piece is used and freed with its own layout, within its bounds.
            unsafe {
                let one = {
                    let _turn = turn_of(3);
                    HEAP.alloc(layout(100, align))
                };
                let nobodys = HEAP.alloc_zeroed(layout(50, align));
                assert!([one, nobodys].iter().all(|piece| (*piece as usize).is_multiple_of(align)));
                assert_eq!((held(3) - before, *nobodys.add(49)), (100, 0));
                one.write_bytes(7, 100);
                let grown = HEAP.realloc(one, layout(100, align), 5000);
                assert_eq!((held(3) - before, *grown, *grown.add(99)), (5000, 7, 7));
                let _turn = turn_of(2);
                HEAP.dealloc(grown, layout(5000, align));
                HEAP.dealloc(nobodys, layout(50, align));
            }
            assert_eq!((held(0), held(2), held(3)), (0, 0, 0));
        }
        assert_eq!((peak(3), peak(2)), (5000, 0));
        reset();
        assert_eq!(peak(3), 0);
    }

    /// A node's turn ends with its poll, and inside of it the outside has turns of its own.
    #[test]
    fn turns_nest() {
        let work = Work::of(5, async {
            let inside = OWNER.get();
            let outside = outside();
            let nobody = OWNER.get();
            drop(outside);
            (inside, nobody, OWNER.get())
        });
        let mut context = Context::from_waker(std::task::Waker::noop());
        let turn = Box::pin(work).as_mut().poll(&mut context);
        assert_eq!((turn, OWNER.get()), (Poll::Ready((5, 0, 5)), 0));
    }
}
