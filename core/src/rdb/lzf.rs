//! LZF, as Redis compresses longer strings: runs of plain bytes, and repetitions of what came at most 8 KB before.

use alloc::vec::Vec;

/// The text of these bytes; none if they are damaged, or it is not as long as announced. The text grows as it comes: an announcement
/// reserves nothing.
pub(super) fn decompress(bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    let (mut text, mut rest) = (Vec::new(), bytes);
    while let Some((&control, behind)) = rest.split_first() {
        if control < 32 {
            let (plain, behind) = behind.split_at_checked(usize::from(control) + 1)?;
            text.extend_from_slice(plain);
            rest = behind;
        } else {
            let (long, behind) = match control >> 5 {
                7 => behind.split_first().map(|(more, behind)| (7 + usize::from(*more), behind))?,
                short => (usize::from(short), behind),
            };
            let (low, behind) = behind.split_first()?;
            let distance = (usize::from(control & 31) << 8) + usize::from(*low) + 1;
            let start = text.len().checked_sub(distance)?;
            // What is repeated may reach into what it makes.
            for at in start..start + long + 2 {
                text.push(text[at]);
            }
            rest = behind;
        }
        if text.len() > length {
            return None;
        }
    }
    (text.len() == length).then_some(text)
}
