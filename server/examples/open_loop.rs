//! An open-loop load: requests leave when they are due, whether or not earlier ones were answered, and latency counts from when they were
//! due. So a server that stands still for a moment is charged for all that would have come meanwhile.
//!
//! Usage: `open_loop PORT REQUESTS_A_SECOND SECONDS [KEYS] [CONNECTIONS] [WRITE_PERCENT]`. Prints one line of milliseconds.

#![allow(clippy::print_stdout)] // what it is for

use std::collections::VecDeque;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

const VALUE_BYTES: usize = 100;

struct Connection {
    stream: TcpStream,
    /// When each request that is not answered was due.
    due: VecDeque<Instant>,
    unsent: Vec<u8>,
    unread: Vec<u8>,
}

impl Connection {
    fn flush(&mut self) -> Result<(), Box<dyn Error>> {
        match self.stream.write(&self.unsent) {
            Ok(written) => drop(self.unsent.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn receive(&mut self, took: &mut Vec<Duration>) -> Result<(), Box<dyn Error>> {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let (now, mut at) = (Instant::now(), 0);
        while let Some(length) = reply(&self.unread[at..])? {
            at += length;
            let due = self.due.pop_front().ok_or("a reply too many")?;
            took.push(now - due);
        }
        self.unread.drain(..at);
        Ok(())
    }
}

/// Length of the first reply, if it is whole.
fn reply(bytes: &[u8]) -> Result<Option<usize>, Box<dyn Error>> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?;
    let length = match head.split_at_checked(1) {
        Some(("+", _) | ("$", "-1")) => 0,
        Some(("$", length)) => length.parse::<usize>()? + 2,
        _ => return Err(format!("the server answered {head}").into()),
    };
    let length = end + 2 + length;
    Ok((bytes.len() >= length).then_some(length))
}

fn request(out: &mut Vec<u8>, draw: u64, keys: u64, writes: u64) {
    let key = format!("key:{:012}", (draw >> 8) % keys);
    let head = |count: usize, name: &str| {
        format!("*{count}\r\n$3\r\n{name}\r\n${}\r\n{key}\r\n", key.len())
    };
    if draw % 100 < writes {
        out.extend(head(3, "SET").bytes());
        out.extend(format!("${VALUE_BYTES}\r\n").bytes());
        out.extend(
            (0..VALUE_BYTES as u64).map(|at| b'a' + (draw.rotate_left(at as u32) % 26) as u8),
        );
        out.extend(b"\r\n");
    } else {
        out.extend(head(2, "GET").bytes());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<u64> =
        std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let or = |at: usize, other: u64| arguments.get(at).copied().unwrap_or(other);
    let (Some(&port), Some(&rate), Some(&seconds)) =
        (arguments.first(), arguments.get(1), arguments.get(2))
    else {
        return Err(
            "usage: open_loop PORT REQUESTS_A_SECOND SECONDS [KEYS] [CONNECTIONS] [WRITE_PERCENT]"
                .into(),
        );
    };
    let (keys, count, writes) = (or(3, 1_000_000), or(4, 50), or(5, 50));
    let mut connections = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(("127.0.0.1", u16::try_from(port)?))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        connections.push(Connection {
            stream,
            due: VecDeque::new(),
            unsent: Vec::new(),
            unread: Vec::new(),
        });
    }
    let total = rate * seconds;
    let mut took = Vec::with_capacity(usize::try_from(total)?);
    let (began, mut sent, mut draw) = (Instant::now(), 0, 0x9E37_79B9_7F4A_7C15_u64);
    let due_at = |number: u64| began + Duration::from_nanos(number * 1_000_000_000 / rate);
    while (took.len() as u64) < total {
        let now = Instant::now();
        while sent < total && due_at(sent) <= now {
            draw ^= draw << 13;
            draw ^= draw >> 7;
            draw ^= draw << 17;
            let connection = &mut connections[usize::try_from(sent % count)?];
            request(&mut connection.unsent, draw, keys, writes);
            connection.due.push_back(due_at(sent));
            connection.flush()?;
            sent += 1;
        }
        let wait = due_at(sent).saturating_duration_since(now).min(Duration::from_millis(10));
        let ready: Vec<PollFlags> = {
            let mut fds: Vec<PollFd<'_>> =
                connections.iter().map(|it| PollFd::new(&it.stream, wanted(it))).collect();
            let wait = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos().try_into()? };
            poll(&mut fds, Some(&wait))?;
            fds.iter().map(PollFd::revents).collect()
        };
        for (connection, ready) in connections.iter_mut().zip(ready) {
            if ready.contains(PollFlags::OUT) {
                connection.flush()?;
            }
            if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                connection.receive(&mut took)?;
            }
        }
    }
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "p50 {:.3} p99 {:.3} p99.9 {:.3} max {:.3} ms of {total} requests in {:.1} s",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

fn wanted(connection: &Connection) -> PollFlags {
    if connection.unsent.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
}
