//! The argument cursor.

/// The words of one command, its name first.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    argv: &'a [&'a [u8]],
    next: usize,
}
