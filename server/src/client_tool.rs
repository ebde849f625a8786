//! `steadfast cli`: one command, or a prompt. Prints replies as redis-cli does: for people on a terminal, raw elsewhere.
#![allow(clippy::print_stdout)] // a tool on the command line

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;

use steadfast_core::number::print_double;
use steadfast_core::reply::Reply;

use crate::cli::CliArgs;
use crate::resp::{Decoded, Decoder, Limits, read_reply};

/// Runs the tool to its end.
pub fn run(args: &CliArgs) -> ExitCode {
    let mut session = match Connection::open(args) {
        Ok(session) => session,
        Err(error) => {
            eprintln!("Could not connect to {}:{}: {error}", args.host, args.port);
            return ExitCode::FAILURE;
        }
    };
    let people = args.no_raw || io::stdout().is_terminal();
    if args.command.is_empty() {
        return session.prompt(args, people);
    }
    let argv: Vec<Vec<u8>> = args.command.iter().map(|word| word.clone().into_bytes()).collect();
    match session.call(&argv) {
        Ok(reply) if listens(&argv) => {
            print(&reply, people);
            session.listen(people)
        }
        Ok(reply) => {
            print(&reply, people);
            ExitCode::from(u8::from(matches!(reply, Reply::Error(_))))
        }
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A blocking connection to a server.
pub(crate) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, input: Vec::new() }
    }

    fn open(args: &CliArgs) -> io::Result<Self> {
        let mut connection = Self::new(TcpStream::connect((args.host.as_str(), args.port))?);
        let word = |text: &str| text.as_bytes().to_vec();
        let mut greetings = Vec::new();
        if let Some(password) = &args.password {
            greetings.push(vec![word("AUTH"), word(password)]);
        }
        if args.resp3 {
            greetings.push(vec![word("HELLO"), word("3")]);
        }
        if args.db != 0 {
            greetings.push(vec![word("SELECT"), word(&args.db.to_string())]);
        }
        for greeting in greetings {
            if let Reply::Error(error) = connection.call(&greeting)? {
                eprintln!("{}", String::from_utf8_lossy(error.text()));
            }
        }
        Ok(connection)
    }

    pub(crate) fn call(&mut self, argv: &[Vec<u8>]) -> io::Result<Reply<'static>> {
        let mut request = format!("*{}\r\n", argv.len()).into_bytes();
        for word in argv {
            request.extend(format!("${}\r\n", word.len()).into_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request)?;
        self.receive()
    }

    fn receive(&mut self) -> io::Result<Reply<'static>> {
        loop {
            match read_reply(&self.input) {
                Ok(Some((reply, consumed))) => {
                    self.input.drain(..consumed);
                    return Ok(reply);
                }
                Ok(None) => {}
                Err(_) => {
                    return Err(io::Error::other("the server answers something that is no reply"));
                }
            }
            let mut buffer = [0; 16 * 1024];
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err(io::Error::other("Server closed the connection"));
            }
            self.input.extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
    }

    /// Prints what comes until the connection ends: as with redis-cli, it is left by ending the tool.
    fn listen(&mut self, people: bool) -> ExitCode {
        loop {
            match self.receive() {
                Ok(reply) => print(&reply, people),
                Err(error) => {
                    eprintln!("Error: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }

    fn prompt(&mut self, args: &CliArgs, people: bool) -> ExitCode {
        let limits = Limits { bulk_bytes_max: 64 * 1024, request_bytes_max: 64 * 1024 };
        let mut lines = io::stdin().lock().lines();
        loop {
            if io::stdin().is_terminal() {
                print!("{}:{}> ", args.host, args.port);
                let _ = io::stdout().flush(); // a prompt that can't be shown is no reason to stop
            }
            let Some(Ok(line)) = lines.next() else { return ExitCode::SUCCESS };
            let line = line + "\n";
            let mut decoder = Decoder::new(limits);
            let argv: Vec<Vec<u8>> =
                if let Decoded::Command { .. } = decoder.decode(line.as_bytes()) {
                    let source = decoder.unquoted().unwrap_or_default();
                    let word = |range: &std::ops::Range<usize>| {
                        source.get(range.clone()).unwrap_or_default().to_vec()
                    };
                    decoder.argv().iter().map(word).collect()
                } else {
                    println!("Invalid argument(s)");
                    continue;
                };
            match argv.first().map(|word| word.to_ascii_lowercase()).as_deref() {
                None => continue,
                Some(b"exit" | b"quit") => return ExitCode::SUCCESS,
                Some(_) => {}
            }
            match self.call(&argv) {
                Ok(reply) if listens(&argv) => {
                    print(&reply, people);
                    return self.listen(people);
                }
                Ok(reply) => print(&reply, people),
                Err(error) => {
                    eprintln!("Error: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
}

/// Whether messages follow what a command answers.
fn listens(argv: &[Vec<u8>]) -> bool {
    let name = argv.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    [&b"SUBSCRIBE"[..], b"PSUBSCRIBE", b"SSUBSCRIBE"].contains(&&*name) && argv.len() > 1
}

fn print(reply: &Reply<'_>, people: bool) {
    let mut out = Vec::new();
    if people {
        pretty(reply, "", &mut out);
    } else {
        raw(reply, &mut out);
    }
    let mut stdout = io::stdout();
    let _ = stdout.write_all(&out).and_then(|()| stdout.flush()); // a closed pipe ends the tool soon enough
}

/// As redis-cli prints to a pipe.
fn raw(reply: &Reply<'_>, out: &mut Vec<u8>) {
    match reply {
        Reply::Ok => out.extend_from_slice(b"OK"),
        Reply::Status(text)
        | Reply::Bulk(text)
        | Reply::Verbatim(text)
        | Reply::VerbatimAs(_, text)
        | Reply::BigNumber(text) => {
            out.extend_from_slice(text);
        }
        Reply::Int(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Reply::Nil | Reply::NilArray => {}
        Reply::Double(value) => out.extend_from_slice(print_double(*value).as_bytes()),
        Reply::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Reply::Error(error) => out.extend_from_slice(error.text()),
        Reply::Array(none) | Reply::Set(none) if none.is_empty() => {}
        Reply::Map(none) if none.is_empty() => {}
        Reply::Array(replies)
        | Reply::Set(replies)
        | Reply::Push(replies)
        | Reply::Several(replies) => {
            return replies.iter().for_each(|reply| raw(reply, out));
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            return pairs.iter().for_each(|(key, value)| {
                raw(key, out);
                raw(value, out);
            });
        }
    }
    out.push(b'\n');
}

/// As redis-cli prints for people.
fn pretty(reply: &Reply<'_>, indent: &str, out: &mut Vec<u8>) {
    let line = match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Status(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Verbatim(text) | Reply::VerbatimAs(_, text) => {
            return out.extend_from_slice(text);
        }
        Reply::BigNumber(digits) => format!("(big number) {}", digits.escape_ascii()),
        Reply::Bulk(text) => format!("\"{}\"", text.escape_ascii()),
        Reply::Int(value) => format!("(integer) {value}"),
        Reply::Nil | Reply::NilArray => "(nil)".to_owned(),
        Reply::Double(value) => format!("(double) {}", print_double(*value)),
        Reply::Bool(value) => format!("({value})"),
        Reply::Error(error) => format!("(error) {}", String::from_utf8_lossy(error.text())),
        Reply::Array(replies) | Reply::Set(replies) if replies.is_empty() => {
            "(empty array)".to_owned()
        }
        Reply::Map(pairs) if pairs.is_empty() => "(empty hash)".to_owned(),
        Reply::Array(replies)
        | Reply::Set(replies)
        | Reply::Push(replies)
        | Reply::Several(replies) => return list(replies.iter(), indent, out),
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            return list(pairs.iter().flat_map(|(key, value)| [key, value]), indent, out);
        }
    };
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

fn list<'a>(replies: impl Iterator<Item = &'a Reply<'a>>, indent: &str, out: &mut Vec<u8>) {
    for (at, reply) in replies.enumerate() {
        let head = format!("{}) ", at + 1);
        if at > 0 {
            out.extend_from_slice(indent.as_bytes());
        }
        out.extend_from_slice(head.as_bytes());
        pretty(reply, &format!("{indent}{}", " ".repeat(head.len())), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nested replies line up as in redis-cli.
    #[test]
    fn as_redis_cli_prints() {
        let inner = Reply::Array(vec![Reply::bulk(b"a\n"), Reply::Int(2)]);
        let reply = Reply::Array(vec![Reply::Ok, inner, Reply::Nil]);
        let mut out = Vec::new();
        pretty(&reply, "", &mut out);
        let expected = "1) OK\n2) 1) \"a\\n\"\n   2) (integer) 2\n3) (nil)\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
        out.clear();
        raw(&reply, &mut out);
        assert_eq!(out, b"OK\na\n\n2\n\n");
        for none in [Reply::Array(Vec::new()), Reply::Map(Vec::new())] {
            out.clear();
            raw(&none, &mut out);
            assert_eq!(out, b"\n");
            out.clear();
            pretty(&none, "", &mut out);
            assert!(out.starts_with(b"(empty "), "{out:?}");
        }
    }
}
