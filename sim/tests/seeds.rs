//! A handful of seeds under plain `cargo test`; `steadfast-sim run --seeds` runs as many as one likes.

use steadfast_sim::world::simulate;

fn clean(seed: u64) -> u128 {
    // A thread of its own: nothing of one run can be seen by the next.
    let report =
        std::thread::spawn(move || simulate(seed, None)).join().expect("a run does not panic");
    assert!(report.violations.is_empty(), "seed {seed}: {:?}", report.violations);
    assert!(report.counts[0] >= 360, "seed {seed}: the clients did not do their work");
    report.hash
}

/// All promises hold.
#[test]
fn a_handful_of_seeds() {
    (1000..1012).for_each(|seed| assert_ne!(clean(seed), 0));
}

/// The same seed gives the same trace, and another seed another one.
#[test]
fn runs_repeat() {
    let hashes: Vec<u128> = (1..6).map(clean).collect();
    let again: Vec<u128> = (1..6).map(clean).collect();
    assert_eq!(hashes, again);
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]));
}
