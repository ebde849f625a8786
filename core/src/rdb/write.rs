//! From a value to bytes: the types and forms that Redis 7.0 reads. Nothing is compressed; a reader does not need it to be.

use alloc::vec::Vec;

use super::{kind, listpack};
use crate::collections::{Hash, List, Set, SetForm, Zset};
use crate::number::{parse_int, print_double};
use crate::record::Value;

/// Bytes of a node of a list, if it has more than one element: `list-max-listpack-size -2`.
const NODE_BYTES_MAX: usize = 8192;
/// What an entry of a listpack takes beside its bytes, at most.
const ENTRY_OVERHEAD_BYTES: usize = 10;
const NODE_PACKED: u64 = 2;

pub(super) fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::List(list) => put_list(out, list),
        Value::Hash(hash) => put_hash(out, hash),
        Value::Set(set) => put_set(out, set),
        Value::Zset(zset) => put_zset(out, zset),
        Value::Short { .. } | Value::Exact(_) | Value::Growing(_) => {
            out.push(kind::STRING);
            put_string(out, value.as_string().unwrap_or_default());
        }
    }
}

fn put_list(out: &mut Vec<u8>, list: &List) {
    let (mut nodes, mut count, mut node) = (Vec::new(), 0, listpack::Writer::new());
    let mut put_node = |node: listpack::Writer| {
        put_length(&mut nodes, NODE_PACKED);
        put_bytes(&mut nodes, &node.finish());
        count += 1;
    };
    for element in list.iter_from(0) {
        let fits = node.size() + element.len() + ENTRY_OVERHEAD_BYTES <= NODE_BYTES_MAX;
        if !fits && !node.is_empty() {
            put_node(core::mem::replace(&mut node, listpack::Writer::new()));
        }
        node.put(element);
    }
    put_node(node);
    out.push(kind::LIST_QUICKLIST_2);
    put_length(out, count);
    out.append(&mut nodes);
}

fn put_hash(out: &mut Vec<u8>, hash: &Hash) {
    if hash.is_small() {
        let mut pairs = listpack::Writer::new();
        hash.iter().flat_map(|(field, value)| [field, value]).for_each(|word| pairs.put(word));
        out.push(kind::HASH_LISTPACK);
        put_bytes(out, &pairs.finish());
    } else {
        out.push(kind::HASH);
        put_length(out, hash.len() as u64);
        for (field, value) in hash.iter() {
            put_string(out, field);
            put_string(out, value);
        }
    }
}

fn put_set(out: &mut Vec<u8>, set: &Set) {
    if let SetForm::Ints(ints) = set.form() {
        let (width, numbers) = ints.bytes().split_first().unwrap_or((&2, &[]));
        let mut text = u32::from(*width).to_le_bytes().to_vec();
        text.extend_from_slice(&(ints.len() as u32).to_le_bytes());
        text.extend_from_slice(numbers);
        out.push(kind::SET_INTSET);
        put_bytes(out, &text);
    } else {
        out.push(kind::SET);
        put_length(out, set.len() as u64);
        set.iter().for_each(|member| put_string(out, &member));
    }
}

fn put_zset(out: &mut Vec<u8>, zset: &Zset) {
    if let Zset::Small(_) = zset {
        let mut pairs = listpack::Writer::new();
        for (member, score) in zset.iter_from(0) {
            pairs.put(member);
            pairs.put(print_double(score).as_bytes());
        }
        out.push(kind::ZSET_LISTPACK);
        put_bytes(out, &pairs.finish());
    } else {
        out.push(kind::ZSET_2);
        put_length(out, zset.len() as u64);
        // From the highest down: then each goes in front, where a skip list is fastest.
        for (member, score) in zset.iter_back_from(zset.len()) {
            put_string(out, member);
            out.extend_from_slice(&score.to_le_bytes());
        }
    }
}

fn put_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend([0x40 | (length >> 8) as u8, length as u8]),
        0x4000..=0xFFFF_FFFF => {
            out.push(0x80);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A string; as a number, if it is a short one.
fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    let Some(number) = parse_int(text).and_then(|number| i32::try_from(number).ok()) else {
        put_bytes(out, text);
        return;
    };
    let wide = number.to_le_bytes();
    let (mark, bytes) = match number {
        -0x80..=0x7F => (0xC0, 1),
        -0x8000..=0x7FFF => (0xC1, 2),
        _ => (0xC2, 4),
    };
    out.push(mark);
    out.extend_from_slice(&wide[..bytes]);
}
