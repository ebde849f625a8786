//! Members by chance, and one after the other by cursor.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::access::View;
use crate::collections::Zset;
use crate::commands::args::Args;
use crate::commands::scan::{self, ScanOptions, Scanned};
use crate::error::{ReplyError, Result};
use crate::number::{parse_int, print_double};
use crate::reply::Reply;
use crate::rng::Rng;

/// How many members ZRANDMEMBER answers that may come more than once. Redis answers any number of them, until it is out of memory.
const REPEATED_MAX: u64 = 1 << 20;
/// Of how many times fewer members than there are the ranks are drawn, and not those of the rest left out.
const SPARSE: usize = 3;

pub(super) fn zrandmember<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let key = args.bytes()?;
    let mut rng = Rng::seeded(view.seed());
    let Some(word) = args.maybe() else {
        let drawn = view.get::<Zset>(key)?.and_then(|zset| zset.nth(below(&mut rng, zset.len())));
        return Ok(drawn.map_or(Reply::Nil, |(member, _)| Reply::bulk(member)));
    };
    let count = parse_int(word).ok_or(ReplyError::NOT_AN_INTEGER)?;
    if count == i64::MIN {
        return Err(ReplyError::fixed(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    let with_scores = args.eat("WITHSCORES");
    args.end()?;
    let out_of_range = ReplyError::fixed("ERR value is out of range");
    if with_scores && count.unsigned_abs() > (i64::MAX / 2) as u64 {
        return Err(out_of_range);
    }
    let Some(zset) = view.get::<Zset>(key)? else { return Ok(Reply::Array(Vec::new())) };
    if count < 0 && count.unsigned_abs() > REPEATED_MAX {
        return Err(out_of_range);
    }
    let drawn = draw(zset, count, &mut rng);
    Ok(if with_scores {
        let pair = |(member, score)| (Reply::bulk(member), Reply::Double(score));
        Reply::Pairs(drawn.into_iter().map(pair).collect())
    } else {
        Reply::Array(drawn.into_iter().map(|(member, _)| Reply::bulk(member)).collect())
    })
}

pub(super) fn zscan<'a>(view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let key = args.bytes()?;
    let cursor = scan::cursor(&mut args)?;
    let Some(zset) = view.get::<Zset>(key)? else {
        return Ok(scan::reply(0, Vec::new()));
    };
    let options = ScanOptions::parse(&mut args, Scanned::Members)?;
    let mut found = Vec::new();
    let next = zset.scan(cursor, options.count, &mut |member, score| {
        if options.fits(member) {
            // A bulk string in both protocols.
            found.extend([Reply::bulk(member), Reply::bulk_owned(print_double(score))]);
        }
    });
    Ok(scan::reply(next, found))
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    rng.below(bound as u64) as usize
}

/// So many different members; if `count` is negative, so many that may be the same.
fn draw<'a>(zset: &'a Zset, count: i64, rng: &mut Rng) -> Vec<(&'a [u8], f64)> {
    let length = zset.len();
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 {
        return (0..wanted).filter_map(|_| zset.nth(below(rng, length))).collect();
    }
    if wanted >= length {
        return zset.iter_back_from(length).collect();
    }
    if wanted <= length / SPARSE {
        let (mut seen, mut drawn) = (BTreeSet::new(), Vec::with_capacity(wanted));
        while drawn.len() < wanted {
            let rank = below(rng, length);
            if seen.insert(rank) {
                drawn.extend(zset.nth(rank));
            }
        }
        return drawn;
    }
    // One after the other, each with the chance that those that are still wanted have among those that are left (Knuth, algorithm S).
    let mut wanted = wanted;
    let chosen = zset.iter_from(0).enumerate().filter(|(rank, _)| {
        let is_chosen = below(rng, length - rank) < wanted;
        wanted -= usize::from(is_chosen);
        is_chosen
    });
    chosen.map(|(_, member)| member).collect()
}
