//! From argv to the table: an open-addressed index over the names, made by the compiler; then arity and key positions.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Arity, CommandSpec, FAMILIES, Flags, GATEWAY_COMMANDS, Handler, Keys};
use crate::error::{ReplyError, Result};
use crate::number::parse_int;

const INDEX_SIZE: usize = 512;
const EMPTY: u16 = u16::MAX;
/// Longest name of a command.
const NAME_BYTES_MAX: usize = 32;
/// Bytes of arguments that the error for an unknown command repeats.
const SHOWN_BYTES_MAX: usize = 128;

const fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ byte.to_ascii_uppercase() as u32).wrapping_mul(0x0100_0193)
}

/// Positions in the families: high byte the family, low byte the command.
const INDEX: [u16; INDEX_SIZE] = {
    let mut index = [EMPTY; INDEX_SIZE];
    let mut family = 0;
    while family < FAMILIES.len() {
        let commands = FAMILIES[family].commands;
        let mut at = 0;
        while at < commands.len() {
            let name = commands[at].name.as_bytes();
            let (mut hash, mut byte) = (0x811c_9dc5, 0);
            while byte < name.len() {
                hash = step(hash, name[byte]);
                byte += 1;
            }
            let mut place = hash as usize % INDEX_SIZE;
            while index[place] != EMPTY {
                place = (place + 1) % INDEX_SIZE;
            }
            index[place] = ((family << 8) | at) as u16;
            at += 1;
        }
        family += 1;
    }
    index
};

/// The command of a name; a subcommand's is `CONTAINER|SUBCOMMAND`. Case does not matter.
pub fn lookup(name: &[u8]) -> Option<&'static CommandSpec> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let hash = name.iter().fold(0x811c_9dc5, |hash, byte| step(hash, *byte));
    let mut place = hash as usize % INDEX_SIZE;
    loop {
        let found = INDEX.get(place).copied().filter(|found| *found != EMPTY)?;
        let family = FAMILIES.get(usize::from(found >> 8))?;
        let spec = family.commands.get(usize::from(found & 0xFF))?;
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(spec);
        }
        place = (place + 1) % INDEX_SIZE;
    }
}

/// The command of an argv, its arity checked.
///
/// # Errors
/// Redis's own texts for an unknown command, an unknown subcommand, and a wrong number of arguments.
pub fn resolve(argv: &[&[u8]]) -> Result<&'static CommandSpec> {
    if let Some(found) = named(argv) {
        return found;
    }
    let Some(name) = argv.first() else { return Err(ReplyError::SYNTAX) };
    let spec = subcommand(name, argv)?;
    check_arity(spec.name, spec.arity, argv.len())?;
    Ok(spec)
}

/// The command that the first word names by itself, its arity checked; none if it names none, or a container.
pub fn named(argv: &[&[u8]]) -> Option<Result<&'static CommandSpec>> {
    let spec = lookup(argv.first()?).filter(|spec| !spec.name.contains('|'))?;
    Some(check_arity(spec.name, spec.arity, argv.len()).map(|()| spec))
}

/// The same for a script's call, to which Redis says less.
///
/// # Errors
/// Redis's own texts for an unknown command, a wrong number of arguments, and a command that no script may call.
pub fn resolve_in_script(argv: &[&[u8]]) -> Result<&'static CommandSpec> {
    let name = argv.first().copied().unwrap_or_default();
    let refused = "ERR This Redis command is not allowed from script";
    let text = match resolve(argv) {
        Ok(spec) if !spec.flags.has(Flags::NO_SCRIPT) => return Ok(spec),
        Ok(_) => refused,
        Err(_) if GATEWAY_COMMANDS.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name)) => {
            refused
        }
        Err(_) if is_known(argv) => "ERR Wrong number of args calling Redis command from script",
        Err(_) => "ERR Unknown Redis command called from script",
    };
    Err(ReplyError::fixed(text))
}

/// Whether there is a command of this name, whatever its arguments.
fn is_known(argv: &[&[u8]]) -> bool {
    match argv {
        [] => false,
        [name, ..] if name.contains(&b'|') => false,
        [name] => lookup(name).is_some() || is_container(name),
        [name, sub, ..] => {
            lookup(name).is_some() || lookup(&[*name, b"|", *sub].concat()).is_some()
        }
    }
}

fn subcommand(name: &[u8], argv: &[&[u8]]) -> Result<&'static CommandSpec> {
    let prefix = [name, b"|"].concat();
    if !is_container(name) {
        return Err(unknown_command(argv));
    }
    let Some(sub) = argv.get(1) else {
        return Err(wrong_arity(&String::from_utf8_lossy(name)));
    };
    lookup(&[&prefix, *sub].concat()).ok_or_else(|| unknown_subcommand(name, sub))
}

fn is_container(name: &[u8]) -> bool {
    FAMILIES.iter().flat_map(|f| f.commands).any(|spec| is_container_of(spec.name, name))
}

/// Whether `spec_name` is a subcommand of the container `name`.
pub fn is_container_of(spec_name: &str, name: &[u8]) -> bool {
    spec_name
        .split_once('|')
        .is_some_and(|(container, _)| container.as_bytes().eq_ignore_ascii_case(name))
}

/// Checks a number of words.
pub fn check_arity(name: &str, arity: Arity, words: usize) -> Result<()> {
    let fits = match arity {
        Arity::Exactly(count) => words == count,
        Arity::AtLeast(count) => words >= count,
    };
    if fits { Ok(()) } else { Err(wrong_arity(name)) }
}

/// `ERR wrong number of arguments for 'get' command`.
pub fn wrong_arity(name: &str) -> ReplyError {
    ReplyError::made(format!(
        "ERR wrong number of arguments for '{}' command",
        name.to_ascii_lowercase()
    ))
}

/// `ERR unknown subcommand 'x'. Try SCRIPT HELP.`
pub fn unknown_subcommand(name: &[u8], sub: &[u8]) -> ReplyError {
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    let sub = shown(sub, SHOWN_BYTES_MAX);
    ReplyError::made(
        [b"ERR unknown subcommand '", sub, b"'. Try ", name.as_bytes(), b" HELP."].concat(),
    )
}

/// What an error repeats of a word: not more than there is room for, and nothing from a NUL on, where Redis's texts end.
fn shown(word: &[u8], room: usize) -> &[u8] {
    let word = word.get(..room).unwrap_or(word);
    word.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// `ERR unknown command 'x', with args beginning with: 'a' 'b' `
fn unknown_command(argv: &[&[u8]]) -> ReplyError {
    let name = shown(argv.first().copied().unwrap_or_default(), SHOWN_BYTES_MAX);
    let mut shown_args: Vec<u8> = Vec::new();
    for word in argv.iter().skip(1) {
        if shown_args.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let room = SHOWN_BYTES_MAX - shown_args.len();
        shown_args.push(b'\'');
        shown_args.extend_from_slice(shown(word, room));
        shown_args.extend_from_slice(b"' ");
    }
    ReplyError::made(
        [b"ERR unknown command '", name, b"', with args beginning with: ", &shown_args].concat(),
    )
}

/// The positions of the keys in an argv.
///
/// # Errors
/// Redis's text, if the count of keys does not fit.
pub fn keys_of<H>(spec: &CommandSpec<H>, argv: &[&[u8]]) -> Result<Vec<usize>> {
    positions(spec.keys, argv)
}

fn positions(keys: Keys, argv: &[&[u8]]) -> Result<Vec<usize>> {
    let invalid = ReplyError::fixed("ERR Invalid arguments specified for command");
    match keys {
        Keys::None => Ok(Vec::new()),
        Keys::Range { first, last, step } => {
            let last = if last < 0 { argv.len() as isize + last } else { last };
            let last =
                usize::try_from(last).ok().filter(|last| *last < argv.len()).ok_or(invalid)?;
            Ok((first..=last).step_by(step).collect())
        }
        Keys::Counted { at } => {
            let count =
                argv.get(at).and_then(|word| parse_int(word)).ok_or_else(|| invalid.clone())?;
            let count = usize::try_from(count).map_err(|_| invalid.clone())?;
            if count > argv.len().saturating_sub(at + 1) {
                return Err(invalid);
            }
            Ok((at + 1..=at + count).collect())
        }
        Keys::Sort => Ok(core::iter::once(1).chain(sort_target(argv)).collect()),
        Keys::FirstAndCounted { at } => {
            let counted = positions(Keys::Counted { at }, argv)?;
            Ok(core::iter::once(1).chain(counted).collect())
        }
    }
}

/// Where SORT stores, if it does. Words behind other options are not taken for a STORE.
fn sort_target(argv: &[&[u8]]) -> Option<usize> {
    let (mut at, mut target) = (2, None);
    while let Some(word) = argv.get(at) {
        let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
        if is("STORE") && at + 1 < argv.len() {
            target = Some(at + 1);
        }
        at += match () {
            () if is("LIMIT") => 3,
            () if is("GET") || is("BY") || is("STORE") => 2,
            () => 1,
        };
    }
    target
}

impl<H> CommandSpec<H> {
    /// The arity as COMMAND says it: negative means "at least".
    pub const fn arity_number(&self) -> i64 {
        match self.arity {
            Arity::Exactly(count) => count as i64,
            Arity::AtLeast(count) => -(count as i64),
        }
    }

    /// First key, last key and step as COMMAND says them.
    pub const fn key_numbers(&self) -> (i64, i64, i64) {
        match self.keys {
            Keys::None | Keys::Counted { .. } => (0, 0, 0),
            Keys::FirstAndCounted { .. } | Keys::Sort => (1, 1, 1),
            Keys::Range { first, last, step } => (first as i64, last as i64, step as i64),
        }
    }
}

impl CommandSpec {
    /// Whether it goes through the log.
    pub const fn is_write(&self) -> bool {
        !matches!(self.handler, Handler::Read(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SORT's target is found behind the last STORE that is one.
    #[test]
    fn sort_stores_where_it_says() {
        for (line, keys) in [
            ("SORT k", &[1][..]),
            ("SORT k STORE t", &[1, 3]),
            ("SORT k BY store GET store LIMIT store 1 DESC", &[1]),
            ("sort k limit 0 1 store t asc store u", &[1, 9]),
            ("SORT k STORE STORE STORE", &[1, 3]),
            ("SORT k GET", &[1]),
            ("SORT k LIMIT STORE", &[1]),
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let spec = lookup(b"SORT").expect("it is in the table");
            assert_eq!(keys_of(spec, &words).expect("it has keys"), keys, "{line}");
        }
    }
}
