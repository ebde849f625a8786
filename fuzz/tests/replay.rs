//! Every target over its kept seeds and over pseudo-random inputs: plain noise, and seeds with bytes changed.

use std::fs;
use std::path::Path;

const INPUTS: u64 = 3_000;
const BYTES_MAX: u64 = 700;

/// SplitMix64: the same inputs each time.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut seeds: Vec<_> = fs::read_dir(folder)
        .expect("each target has seeds")
        .map(|f| f.expect("readable").path())
        .collect();
    seeds.sort();
    let mut inputs: Vec<Vec<u8>> =
        seeds.iter().map(|path| fs::read(path).expect("readable")).collect();
    inputs.extend(steadfast_fuzz::examples(target));
    inputs.iter().for_each(|input| run(input));
    let mut state = 7;
    for _ in 0..INPUTS {
        let noise: Vec<u8> =
            (0..draw(&mut state) % BYTES_MAX).map(|_| draw(&mut state) as u8).collect();
        run(&noise);
        let pick = draw(&mut state) as usize % inputs.len();
        let mut changed = inputs[pick].clone();
        for _ in 0..=draw(&mut state) % 4 {
            if changed.is_empty() {
                break;
            }
            let at = draw(&mut state) as usize % changed.len();
            match draw(&mut state) % 3 {
                0 => changed[at] ^= 1 << (draw(&mut state) % 8),
                1 => changed.truncate(at),
                _ => changed[at] = [0, 0xFF, 0x7F, b'\n'][draw(&mut state) as usize % 4],
            }
        }
        run(&changed);
    }
}

/// No bytes from a client can panic the decoder, or make it say two things about one input.
#[test]
fn resp_decode() {
    replay("resp_decode", steadfast_fuzz::resp_decode);
}

/// No bytes from a peer or a log can panic the entry decoder or the state machine.
#[test]
fn entry_decode() {
    replay("entry_decode", steadfast_fuzz::entry_decode);
}

/// No bytes in a segment can panic recovery or make it invent an entry.
#[test]
fn log_recover() {
    replay("log_recover", steadfast_fuzz::log_recover);
}

/// No bytes in a snapshot can panic its decoder or pass as another state.
#[test]
fn snapshot_decode() {
    replay("snapshot_decode", steadfast_fuzz::snapshot_decode);
}
