//! A real redis-server to compare with, and a connection to it. Shared by the tests that Redis judges.

#![allow(dead_code, unreachable_pub)] // each test file uses its own part of this

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use crate::script::Answer;

/// What `table.rs` compares besides arity and keys: flags, and with `@` an ACL category.
const FLAGS: [&str; 8] =
    ["@dangerous", "admin", "denyoom", "fast", "noscript", "pubsub", "readonly", "write"];

/// What Redis has not answered by then waits.
const SOON: Duration = Duration::from_millis(100);

/// A Redis that ends with the test.
pub struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// The redis-server that `STEADFAST_REDIS` names; none, and a word about it, without the variable.
    pub fn start() -> Option<Self> {
        let Ok(path) = env::var("STEADFAST_REDIS") else {
            eprintln!("STEADFAST_REDIS is not set: nothing to compare with");
            return None;
        };
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let child = Process::new(path)
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .current_dir(env::temp_dir())
            .stdout(Stdio::null())
            .spawn()
            .expect("STEADFAST_REDIS names a redis-server");
        Some(Self { child, port })
    }

    /// A new connection; the first one waits until the server listens.
    pub fn connect(&mut self) -> Wire {
        for _ in 0..200 {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                stream.set_read_timeout(Some(Duration::from_secs(10))).expect("it is a time-out");
                return Wire(BufReader::new(stream));
            }
            assert!(
                self.child.try_wait().expect("it is our child").is_none(),
                "Redis did not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("Redis did not listen");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One RESP2 connection.
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    pub fn ask(&mut self, argv: &[Vec<u8>]) -> Result<Answer, Box<dyn Error>> {
        let mut request = format!("*{}\r\n", argv.len()).into_bytes();
        for word in argv {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&request)?;
        self.answer()
    }

    /// Asks for something that may wait; none if it is not answered soon.
    pub fn ask_to_wait(&mut self, argv: &[Vec<u8>]) -> Result<Option<Answer>, Box<dyn Error>> {
        self.0.get_ref().set_read_timeout(Some(SOON))?;
        let answer = self.ask(argv);
        self.0.get_ref().set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(answer.ok())
    }

    /// The answer to what has waited, if it has come.
    pub fn waited(&mut self) -> Option<Answer> {
        self.0.get_ref().set_read_timeout(Some(SOON)).ok()?;
        let answer = self.answer().ok();
        self.0.get_ref().set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        answer
    }

    /// One line of `commands.txt`: what COMMAND INFO says about a command.
    pub fn command_line(&mut self, name: &str) -> Result<String, Box<dyn Error>> {
        let answer = self.ask(&["COMMAND", "INFO", name].map(|word| word.as_bytes().to_vec()))?;
        let Answer::Array(entries) = answer else { return Err("it is no list".into()) };
        let [Answer::Array(entry)] = &entries[..] else {
            return Err(format!("Redis has no {name}").into());
        };
        let [_, arity, Answer::Array(flags), first, last, step, Answer::Array(categories), ..] =
            &entry[..]
        else {
            return Err(format!("an entry of another shape: {entry:?}").into());
        };
        let has = |flag: &&str| {
            let word = Answer::Simple(flag.as_bytes().to_vec());
            flags.contains(&word) || categories.contains(&word)
        };
        let flags: Vec<&str> = FLAGS.into_iter().filter(has).collect();
        let [arity, first, last, step] = [arity, first, last, step].map(Answer::show);
        let line = format!("{name} arity={arity} keys={first},{last},{step} {}", flags.join(" "));
        Ok(line.trim_end().to_owned()) // one may have no flags
    }

    fn answer(&mut self) -> Result<Answer, Box<dyn Error>> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        let text = line.strip_suffix(b"\r\n").ok_or("the line is cut")?;
        let (kind, rest) = text.split_first().ok_or("the line is empty")?;
        let number = || -> Result<i64, Box<dyn Error>> { Ok(std::str::from_utf8(rest)?.parse()?) };
        Ok(match kind {
            b'+' => Answer::Simple(rest.to_vec()),
            b'-' => Answer::Error(rest.to_vec()),
            b':' => Answer::Int(number()?),
            b'$' if rest == b"-1" => Answer::Nil,
            b'*' if rest == b"-1" => Answer::NilArray,
            b'$' => {
                let mut bytes = vec![0; usize::try_from(number()?)? + 2];
                self.0.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Answer::Bulk(bytes)
            }
            b'*' => Answer::Array((0..number()?).map(|_| self.answer()).collect::<Result<_, _>>()?),
            other => return Err(format!("a reply of kind {other}").into()),
        })
    }
}
