//! Replies as bytes.

use steadfast_core::number::{print_double, push_int};
use steadfast_core::reply::Reply;

use super::Protocol;

/// Appends a reply.
pub fn encode(reply: &Reply<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    let resp3 = protocol == Protocol::Resp3;
    match reply {
        Reply::Ok => out.extend_from_slice(b"+OK\r\n"),
        Reply::Status(text) => line(out, b'+', text),
        Reply::Error(error) => line(out, b'-', error.text()),
        Reply::Int(value) => head(out, b':', *value),
        Reply::Bulk(bytes) => bulk(out, bytes),
        Reply::Nil => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
        Reply::NilArray => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"*-1\r\n" }),
        Reply::Array(replies) => all(replies, b'*', protocol, out),
        Reply::Set(replies) => all(replies, if resp3 { b'~' } else { b'*' }, protocol, out),
        Reply::Push(replies) => all(replies, if resp3 { b'>' } else { b'*' }, protocol, out),
        Reply::Several(replies) => replies.iter().for_each(|reply| encode(reply, protocol, out)),
        Reply::Map(pairs) => {
            let (mark, count) = if resp3 { (b'%', pairs.len()) } else { (b'*', pairs.len() * 2) };
            head(out, mark, count as i64);
            for (key, value) in pairs {
                encode(key, protocol, out);
                encode(value, protocol, out);
            }
        }
        Reply::Pairs(pairs) => {
            head(out, b'*', if resp3 { pairs.len() } else { pairs.len() * 2 } as i64);
            for (key, value) in pairs {
                if resp3 {
                    out.extend_from_slice(b"*2\r\n");
                }
                encode(key, protocol, out);
                encode(value, protocol, out);
            }
        }
        Reply::Double(value) => {
            let text = print_double(*value);
            if resp3 { line(out, b',', text.as_bytes()) } else { bulk(out, text.as_bytes()) }
        }
        Reply::Bool(value) if resp3 => {
            out.extend_from_slice(if *value { b"#t\r\n" } else { b"#f\r\n" });
        }
        Reply::Bool(value) => head(out, b':', i64::from(*value)),
        Reply::Verbatim(text) if resp3 => verbatim(out, *b"txt", text),
        Reply::VerbatimAs(format, text) if resp3 => verbatim(out, *format, text),
        Reply::Verbatim(text) | Reply::VerbatimAs(_, text) => bulk(out, text),
        Reply::BigNumber(digits) if resp3 => line(out, b'(', digits),
        Reply::BigNumber(digits) => bulk(out, digits),
    }
}

fn verbatim(out: &mut Vec<u8>, format: [u8; 3], text: &[u8]) {
    head(out, b'=', text.len() as i64 + 4);
    out.extend_from_slice(&format);
    out.push(b':');
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn all(replies: &[Reply<'_>], mark: u8, protocol: Protocol, out: &mut Vec<u8>) {
    head(out, mark, replies.len() as i64);
    replies.iter().for_each(|reply| encode(reply, protocol, out));
}

fn head(out: &mut Vec<u8>, mark: u8, value: i64) {
    out.push(mark);
    push_int(out, value);
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, mark: u8, text: &[u8]) {
    out.push(mark);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, b'$', bytes.len() as i64);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}
