//! Fuzz targets as plain functions over bytes. `fuzz_targets` hands them to libFuzzer; `tests/replay.rs` runs them on stable.
//! Each panics when a decoder says something it must not.

use std::collections::BTreeMap;

use steadfast_core::entry::{self, Part};
use steadfast_core::machine::{Outcome, Sink, StateMachine};
use steadfast_core::stamp::{Stamp, UnixMillis};
use steadfast_replication::storage::recover_from_bytes;
use steadfast_server::resp::{Decoded, Decoder, Limits, read_reply};
use steadfast_server::surroundings::LuaSurroundings;

const LIMITS: Limits = Limits { bulk_bytes_max: 1 << 16, request_bytes_max: 1 << 18 };

/// The words of the commands in a stream that arrives in pieces, and whether it broke.
fn commands(stream: &[u8], piece: usize) -> (Vec<Vec<Vec<u8>>>, bool) {
    let mut decoder = Decoder::new(LIMITS);
    let (mut buffer, mut found) = (Vec::new(), Vec::new());
    for part in stream.chunks(piece.max(1)) {
        buffer.extend_from_slice(part);
        loop {
            match decoder.decode(&buffer) {
                Decoded::NeedMore => break,
                Decoded::Error(_) => return (found, true),
                Decoded::Command { consumed } => {
                    let source = decoder.unquoted().unwrap_or(&buffer);
                    let word = |range: &std::ops::Range<usize>| source[range.clone()].to_vec();
                    found.push(decoder.argv().iter().map(word).collect());
                    buffer.drain(..consumed);
                }
            }
        }
    }
    (found, false)
}

/// However a client's bytes are cut, they hold the same commands.
pub fn resp_decode(input: &[u8]) {
    let whole = commands(input, input.len());
    assert_eq!(whole, commands(input, 7));
    assert_eq!(whole, commands(input, 1));
    let _ = read_reply(input);
}

struct Nobody;

impl Sink for Nobody {
    fn wants(&self, _node: u64, _incarnation: u64) -> bool {
        true
    }
    fn reply(&mut self, _sequence: u64, _position: u32, _outcome: Outcome<'_>) {}

    fn passed(&mut self, _sequence: u64) {}
}

/// An entry of any bytes is applied or refused whole; its parcels hold whatever requests the bytes make.
pub fn entry_decode(input: &[u8]) {
    let mut machine = StateMachine::new();
    let mut surroundings = LuaSurroundings::new();
    let before = machine.digest();
    if machine.apply(1, input, &mut surroundings, &mut Nobody).is_err() {
        assert_eq!(machine.digest(), before, "a refused entry changed something");
    }
    let parcel = entry::encode_parcel(1, 1, 1, Part::Whole, input);
    let register = entry::encode_register(1, 1, "");
    let stamp = Stamp { time: UnixMillis(1_000), seed: 7 };
    let payload = entry::encode_entry(stamp, [&register[..], &parcel[..]]);
    // Requests that can't be decoded make the whole entry so, on every replica alike, and nothing of it is applied.
    let mut machine = StateMachine::new();
    if machine.apply(1, &payload, &mut surroundings, &mut Nobody).is_err() {
        assert_eq!(machine.digest(), before, "a refused entry changed something");
    }
    let _ = entry::decode_op(input);
}

/// Recovery answers or refuses; what it answers is contiguous.
pub fn log_recover(input: &[u8]) {
    let example = example_log();
    for name in example.keys() {
        let mut files = example.clone();
        files.insert(name.clone(), input.to_vec());
        if let Ok(recovered) = recover_from_bytes(files) {
            assert!(recovered.entries.windows(2).all(|pair| pair[0].index + 1 == pair[1].index));
        }
    }
    // The input as changes to a real log: what is not refused is a prefix of what was written.
    let mut files = example.clone();
    for (at, byte) in input
        .chunks(5)
        .filter_map(|c| Some((u32::from_le_bytes(c.get(..4)?.try_into().ok()?), *c.get(4)?)))
    {
        for (_, bytes) in files.iter_mut().filter(|(name, _)| name.starts_with("log-")) {
            let at = at as usize % bytes.len();
            bytes[at] ^= byte;
        }
    }
    let whole = recover_from_bytes(example).expect("the example is whole").entries;
    if let Ok(recovered) = recover_from_bytes(files) {
        assert!(whole.starts_with(&recovered.entries), "recovery invented an entry");
    }
}

/// A log as the writer leaves it: its files.
fn example_log() -> BTreeMap<String, Vec<u8>> {
    use steadfast_replication::storage::{LogConfig, LogEntry, NodeMeta, example};
    let entry = |index| LogEntry { index, term: 1, kind: 0, payload: vec![index as u8; 40].into() };
    let meta = NodeMeta { node_id: 1, storage_id: 77, incarnation: 1, ..NodeMeta::default() };
    let config = LogConfig { segment_bytes: 1024, ..LogConfig::default() };
    example(meta, config, (1..=30).map(entry))
}

/// A snapshot of any bytes is refused or makes a state whose own snapshot is the same state.
pub fn snapshot_decode(input: &[u8]) {
    if let Ok(machine) = StateMachine::restore(&mut std::iter::once(input)) {
        let mut again = Vec::new();
        machine.snapshot(&mut |chunk| again.extend(chunk));
        let restored =
            StateMachine::restore(&mut std::iter::once(&again[..])).expect("its own snapshot");
        assert_eq!(restored.digest(), machine.digest());
    }
}

/// Well-formed inputs to start from.
pub fn examples(target: &str) -> Vec<Vec<u8>> {
    let argv: [&[u8]; 5] = [b"SET", b"key", b"value", b"PX", b"1000"];
    let mut batch = Vec::new();
    entry::push_command(&mut batch, 1, UnixMillis(u64::MAX), 0, &argv);
    entry::push_command(&mut batch, 1, UnixMillis(u64::MAX), 0, &[b"INCR", b"n"]);
    entry::push_transaction(
        &mut batch,
        1,
        UnixMillis(u64::MAX),
        &[],
        &[(1, vec![b"APPEND".to_vec(), b"k".to_vec(), b"x".to_vec()])],
    );
    let ops = [
        entry::encode_bootstrap(9, [1, 2]),
        entry::encode_register(1, 1, ""),
        entry::encode_parcel(1, 1, 1, Part::Whole, &batch),
        entry::encode_tick(),
    ];
    let payload =
        entry::encode_entry(Stamp { time: UnixMillis(5), seed: 3 }, ops.iter().map(|op| &op[..]));
    match target {
        "resp_decode" => vec![
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\nPING \"a\\x41\" 'b'\r\n".to_vec(),
            b"*1\r\n$4\r\nPING\r\n*0\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n".to_vec(),
        ],
        "entry_decode" => vec![payload, batch],
        "log_recover" => example_log().into_values().collect(),
        "snapshot_decode" => {
            let mut machine = StateMachine::new();
            machine
                .apply(1, &payload, &mut LuaSurroundings::new(), &mut Nobody)
                .expect("it is well formed");
            let mut snapshot = Vec::new();
            machine.snapshot(&mut |chunk| snapshot.extend(chunk));
            vec![snapshot]
        }
        _ => Vec::new(),
    }
}
