//! The script port: what the core asks of a Lua implementation, and what a script may ask of the core.
//! The one adapter is the crate `steadfast-lua`; the core itself links no interpreter.

use sha1::{Digest, Sha1};

use crate::error::ReplyError;
use crate::reply::Reply;

/// Budgets of one script run. Counted, never timed, so that every replica stops at the same instruction.
#[derive(Clone, Copy, Debug)]
pub struct ScriptBudget {
    /// Virtual-machine instructions.
    pub instructions_max: u64,
    /// Bytes that the script's values may take, measured in a fresh interpreter.
    pub memory_bytes_max: usize,
}

/// Why a script did not end by itself.
#[derive(Clone, PartialEq, Debug)]
pub enum ScriptFailure {
    /// An uncaught error, a compile error, or a value that is an error reply: the text for the client.
    /// What the script wrote before it stays, as in Redis.
    Error(ReplyError),
    /// A budget was used up. The core rolls the script's writes back and says so.
    BudgetExceeded(ReplyError),
}

/// What a running script may reach. Implemented by the core's transaction.
pub trait ScriptHost {
    /// `redis.call` / `redis.pcall`: runs one command and answers its reply; errors come as `Reply::Error`.
    fn call(&mut self, argv: &[&[u8]]) -> Reply<'static>;
    /// Undoes everything the script wrote so far, so that the adapter can run it again from the start
    /// in a fresh interpreter (see `ScriptEngine::run`).
    fn rewind(&mut self);
    /// Seed of `math.random`, from the entry's stamp; the same each time it is asked during one run.
    fn seed(&self) -> u64;
}

/// A Lua 5.1 interpreter. The outcome must be a function of (script, keys, argv, host answers, budget) alone:
/// nothing that an earlier script left in the interpreter, no address, clock or hash seed may show in it.
pub trait ScriptEngine {
    /// Compiles without running; the error is the text that `SCRIPT LOAD` answers.
    fn check(&mut self, body: &[u8]) -> Result<(), ReplyError>;

    /// Runs `body` (`sha` is its lower-case hex SHA-1, the name that Redis's error texts use).
    fn run(
        &mut self,
        sha: &str,
        body: &[u8],
        keys: &[&[u8]],
        argv: &[&[u8]],
        budget: ScriptBudget,
        host: &mut dyn ScriptHost,
    ) -> Result<Reply<'static>, ScriptFailure>;

    /// Forgets compiled scripts (`SCRIPT FLUSH`).
    fn forget(&mut self);
}

/// What the machine needs of its surroundings while it applies: an interpreter, and a net under panics.
pub trait Surroundings {
    /// Runs `work` with the interpreter; answers false if it panicked. With it a panic of one command becomes that command's
    /// error reply, after its writes were undone, instead of a crash loop of every replica (`std::panic::catch_unwind`).
    fn contain(&mut self, work: &mut dyn FnMut(&mut dyn ScriptEngine)) -> bool;
}

/// What the first line of a script, `#!lua flags=no-writes`, says of the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Script<'a> {
    /// What is compiled: without that line, but with its end, so that lines keep their numbers.
    pub code: &'a [u8],
    /// Whether it must not write.
    pub no_writes: bool,
    /// Whether there is such a line: what it does not say of the script does not hold then.
    pub is_declared: bool,
}

/// Flags that Redis knows; only `no-writes` has a meaning here.
const FLAGS: [&[u8]; 5] =
    [b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster", b"allow-cross-slot-keys"];

impl<'a> Script<'a> {
    /// The same where the caller wants it not to write, whatever it says (`EVAL_RO`).
    ///
    /// # Errors
    /// It says that it writes.
    pub fn read_only(self) -> Result<Self, ReplyError> {
        if self.is_declared && !self.no_writes {
            return Err(ReplyError::fixed(
                "ERR Can not execute a script with write flag using *_ro command.",
            ));
        }
        Ok(Self { no_writes: true, ..self })
    }

    /// Takes the first line off a body, if it is one of those.
    ///
    /// # Errors
    /// Redis's texts for a line that is not understood.
    pub fn parse(body: &'a [u8]) -> Result<Self, ReplyError> {
        let mut script = Self { code: body, no_writes: false, is_declared: false };
        if !body.starts_with(b"#!") {
            return Ok(script);
        }
        script.is_declared = true;
        let end = body.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or(ReplyError::fixed("ERR Invalid script shebang"))?;
        let (line, code) = body.split_at(end);
        script.code = code;
        let unknown = |text: &[u8], word: &[u8]| ReplyError::made([text, word].concat());
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let engine = words.next().unwrap_or_default();
        if engine != b"#!lua" {
            return Err(unknown(b"ERR Unexpected engine in script shebang: ", engine));
        }
        for word in words {
            let Some(flags) = word.strip_prefix(b"flags=") else {
                return Err(unknown(b"ERR Unknown lua shebang option: ", word));
            };
            let flags = flags.split(|byte| *byte == b',').filter(|_| !flags.is_empty());
            for flag in flags {
                if !FLAGS.contains(&flag) {
                    return Err(unknown(b"ERR Unexpected flag in script shebang: ", flag));
                }
                script.no_writes |= flag == b"no-writes";
            }
        }
        Ok(script)
    }
}

/// Lower-case hex SHA-1, the name of a script.
pub fn sha1_hex(body: &[u8]) -> [u8; 40] {
    let digest: [u8; 20] = Sha1::digest(body).into();
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    let mut hex = [0; 40];
    for (pair, byte) in hex.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    hex
}
