//! The command table against its surroundings: every command has a golden script that runs it, and stands in the table as
//! `redis/commands.txt` has it, which is what `COMMAND INFO` of Redis 7.0.15 answers (`differential.rs` asks it).

mod script;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use script::{root, split, unroll};
use steadfast_core::commands::{CommandSpec, FAMILIES, Flags, lookup};

/// Where a command is meant to stand differently than in Redis: its name, the fact, and why.
const MEANT: &[(&str, &str, &str)] = &[
    ("ECHO", "readonly", "what is no write is a read here"),
    ("PING", "readonly", "what is no write is a read here"),
    ("OBJECT|HELP", "readonly", "what is no write is a read here"),
    ("EVAL", "write", "a script may write, and must be the same on every replica"),
    ("EVALSHA", "write", "a script may write, and must be the same on every replica"),
    ("PSUBSCRIBE", "write", SUBSCRIPTIONS),
    ("PUBLISH", "write", SUBSCRIPTIONS),
    ("PUBSUB|CHANNELS", "readonly", SUBSCRIPTIONS),
    ("PUBSUB|HELP", "readonly", "what is no write is a read here"),
    ("PUBSUB|NUMPAT", "readonly", SUBSCRIPTIONS),
    ("PUBSUB|NUMSUB", "readonly", SUBSCRIPTIONS),
    ("PUBSUB|SHARDCHANNELS", "readonly", SUBSCRIPTIONS),
    ("PUBSUB|SHARDNUMSUB", "readonly", SUBSCRIPTIONS),
    ("PUNSUBSCRIBE", "write", SUBSCRIPTIONS),
    ("SPUBLISH", "write", SUBSCRIPTIONS),
    ("SSUBSCRIBE", "write", SUBSCRIPTIONS),
    ("SUBSCRIBE", "write", SUBSCRIPTIONS),
    ("SUNSUBSCRIBE", "write", SUBSCRIPTIONS),
    ("UNSUBSCRIBE", "write", SUBSCRIPTIONS),
    ("EVAL_RO", "write", "an interpreter is at hand at apply only"),
    ("EVAL_RO", "readonly", "an interpreter is at hand at apply only"),
    ("EVALSHA_RO", "write", "an interpreter is at hand at apply only"),
    ("EVALSHA_RO", "readonly", "an interpreter is at hand at apply only"),
    ("SCRIPT|DEBUG", "readonly", "what is no write is a read here"),
    ("SCRIPT|HELP", "readonly", "what is no write is a read here"),
    ("SCRIPT|KILL", "readonly", "what is no write is a read here"),
    ("SCRIPT|EXISTS", "readonly", "the cache of scripts is part of the state"),
    ("SCRIPT|FLUSH", "write", "the cache of scripts is part of the state"),
    ("SCRIPT|LOAD", "write", "the cache of scripts is part of the state"),
    ("ZRANK", "arity=-3", "WITHSCORE came with Redis 7.2"),
    ("ZRANK", "arity=3", "WITHSCORE came with Redis 7.2"),
    ("ZREVRANK", "arity=-3", "WITHSCORE came with Redis 7.2"),
    ("ZREVRANK", "arity=3", "WITHSCORE came with Redis 7.2"),
];

const SUBSCRIPTIONS: &str = "subscriptions are part of the state, and messages go by the log";
/// Commands that never answer anything but an error.
const ONLY_REFUSE: [&str; 1] = ["SCRIPT|KILL"];

/// Flags that both sides have, as Redis calls them; `@` stands before an ACL category.
const SHARED: [(Flags, &str); 6] = [
    (Flags::ADMIN, "admin"),
    (Flags::DANGEROUS, "@dangerous"),
    (Flags::DENY_OOM, "denyoom"),
    (Flags::FAST, "fast"),
    (Flags::NO_SCRIPT, "noscript"),
    (Flags::PUB_SUB, "pubsub"),
];

fn specs() -> impl Iterator<Item = &'static CommandSpec> {
    FAMILIES.iter().flat_map(|family| family.commands)
}

/// The facts about one command: `arity=2`, `keys=1,1,1`, and its flags.
fn facts_of(spec: &CommandSpec) -> Vec<String> {
    let (first, last, step) = spec.key_numbers();
    let mut facts =
        vec![format!("arity={}", spec.arity_number()), format!("keys={first},{last},{step}")];
    let shared = SHARED.iter().filter(|(flag, _)| spec.flags.has(*flag)).map(|(_, name)| *name);
    facts.extend(shared.map(str::to_owned));
    facts.push(if spec.is_write() { "write" } else { "readonly" }.to_owned());
    facts
}

/// What the file says, by name.
fn facts_of_redis() -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redis/commands.txt");
    let text = fs::read_to_string(path).expect("it is part of the repository");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned);
            (words.next().expect("split answers one"), words.collect())
        })
        .collect()
}

/// A command without a script that it answers, in the file of its name, does not land.
#[test]
fn every_command_has_a_script_that_runs_it() {
    let mut missing = Vec::new();
    for family in FAMILIES {
        let folder = format!("{:?}", family.group).to_lowercase();
        for spec in family.commands {
            let name = spec.name.to_lowercase().replace('|', "_");
            let path = root().join(&folder).join(format!("{name}.golden"));
            let text = fs::read_to_string(&path).unwrap_or_default();
            let mut answers = text.lines().filter_map(|line| line.split_once(" → "));
            let runs = |(line, answer): (&str, &str)| {
                let argv = split(&unroll(line));
                let sub = argv.get(1).map(|sub| [&argv[0][..], b"|", sub].concat());
                let found = lookup(&argv[0]).or_else(|| lookup(&sub?));
                found.is_some_and(|found| found.name == spec.name) && !answer.starts_with("(error)")
            };
            let refuses = ONLY_REFUSE.contains(&spec.name) && !text.is_empty();
            if !answers.any(runs) && !refuses {
                missing.push(format!("{}: {}", spec.name, path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "commands that no script runs: {missing:#?}");
}

/// Arity, key positions and flags are those of Redis, but where it is said why not.
#[test]
fn the_table_agrees_with_redis() {
    let redis = facts_of_redis();
    let (mut differences, mut used) = (Vec::new(), 0);
    for spec in specs() {
        let theirs =
            redis.get(spec.name).unwrap_or_else(|| panic!("{} is not in the file", spec.name));
        let ours = facts_of(spec);
        let only_one =
            ours.iter().filter(|fact| !theirs.contains(fact)).map(|fact| ("we have", fact));
        let only_one = only_one.chain(
            theirs.iter().filter(|fact| !ours.contains(fact)).map(|fact| ("Redis has", fact)),
        );
        for (who, fact) in only_one {
            if MEANT.iter().any(|(name, meant, _)| *name == spec.name && meant == fact) {
                used += 1;
            } else {
                differences.push(format!("{}: {who} {fact}", spec.name));
            }
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(used, MEANT.len(), "a difference that is meant is none any more");
    assert_eq!(redis.len(), specs().count(), "the file has commands that are not ours");
}
