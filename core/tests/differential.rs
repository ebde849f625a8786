//! The golden scripts and the command table against a real Redis: `STEADFAST_REDIS=/path/to/redis-server cargo test -p steadfast-core
//! --test differential`. Without the variable there is nothing to compare with, and the test says so. Scripts in `log_time`
//! count milliseconds and are ours alone; elsewhere `advance` sleeps. `# differs:` names what is meant to differ, and keeps
//! its script out.

mod redis;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use goldenscript::{Command, Context, Runner};
use redis::{Redis, Wire};
use script::{Answer, is_unordered, scripts, split, unroll};
use steadfast_core::commands::FAMILIES;

struct Differential<'a> {
    redis: &'a mut Redis,
    connections: BTreeMap<String, Wire>,
    /// Connections that wait.
    waiting: BTreeSet<String>,
}

impl Differential<'_> {
    /// A line for each connection that has waited and is answered now.
    fn served(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for name in self.waiting.clone() {
            let wire = self.connections.get_mut(&name);
            if let Some(answer) = wire.and_then(Wire::waited) {
                self.waiting.remove(&name);
                lines.push(format!("{name} ← {}", answer.show()));
            }
        }
        lines
    }
}

impl Runner for Differential<'_> {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Result<String, Box<dyn Error>> {
        if command.name == "advance" {
            let millis =
                command.consume_args().next_pos().ok_or("advance by how much?")?.parse()?;
            std::thread::sleep(Duration::from_millis(millis));
            return Ok(self.served().join("\n"));
        }
        let name = context.prefix.clone().unwrap_or_default();
        let redis = &mut *self.redis;
        let wire = self.connections.entry(name.clone()).or_insert_with(|| redis.connect());
        let argv = split(&unroll(&command.name));
        let may_wait =
            steadfast_core::commands::resolve(&argv.iter().map(Vec::as_slice).collect::<Vec<_>>())
                .is_ok_and(|spec| spec.flags.has(steadfast_core::commands::Flags::BLOCKING));
        let answer = if may_wait { wire.ask_to_wait(&argv)? } else { Some(wire.ask(&argv)?) };
        let answer = answer.unwrap_or_else(|| {
            self.waiting.insert(name);
            Answer::Simple(b"(waits)".to_vec())
        });
        let answer = if is_unordered(&argv) { answer.sorted() } else { answer };
        let mut lines = vec![format!("{} → {}", command.name, answer.show())];
        lines.extend(self.served());
        Ok(lines.join("\n"))
    }
}

/// Redis answers every script as we do.
#[test]
fn redis_answers_the_same() {
    let Some(mut redis) = Redis::start() else { return };
    let (mut compared, mut differences) = (0, Vec::new());
    for path in scripts() {
        let ours = fs::read_to_string(&path).expect("scripts are text");
        let counts = path.parent().is_some_and(|family| family.ends_with("log_time"));
        if counts || ours.lines().any(|line| line.starts_with("# differs:")) {
            continue;
        }
        redis.connect().ask(&[b"FLUSHALL".to_vec()]).expect("Redis answers");
        redis.connect().ask(&[b"SCRIPT".to_vec(), b"FLUSH".to_vec()]).expect("Redis answers");
        let mut runner = Differential {
            redis: &mut redis,
            connections: BTreeMap::new(),
            waiting: BTreeSet::new(),
        };
        let theirs = goldenscript::generate(&mut runner, &ours).expect("the script runs");
        compared += 1;
        for (our, their) in ours.lines().zip(theirs.lines()).filter(|(our, their)| our != their) {
            differences.push(format!("{}\n  ours:   {our}\n  theirs: {their}", path.display()));
        }
        assert_eq!(ours.lines().count(), theirs.lines().count(), "{}:\n{theirs}", path.display());
    }
    assert!(compared > 10, "most scripts are compared");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What `table.rs` compares the table with is what Redis answers; `UPDATE_GOLDENFILES=1` writes it anew.
#[test]
fn redis_describes_its_commands_so() {
    let Some(mut redis) = Redis::start() else { return };
    let mut wire = redis.connect();
    let mut lines = vec!["# COMMAND INFO of Redis 7.0.15: see table.rs.".to_owned()];
    for spec in FAMILIES.iter().flat_map(|family| family.commands) {
        lines.push(wire.command_line(spec.name).expect("Redis has every command of the table"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redis/commands.txt");
    if env::var_os("UPDATE_GOLDENFILES").is_some() {
        fs::write(&path, lines.join("\n") + "\n").expect("the repository is writable");
    }
    let file = fs::read_to_string(path).expect("it is part of the repository");
    for (ours, theirs) in file.lines().zip(&lines) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(file.lines().count(), lines.len());
}
