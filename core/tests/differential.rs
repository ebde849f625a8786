//! The golden scripts against a real Redis: `STEADFAST_REDIS=/path/to/redis-server cargo test -p steadfast-core
//! --test differential`. Without the variable there is nothing to compare with, and the test says so. Scripts in `log_time`
//! count milliseconds and are ours alone; elsewhere `advance` sleeps. `# differs:` names what is meant to differ, and keeps
//! its script out.

mod script;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use goldenscript::{Command, Context, Runner};
use script::{Answer, is_unordered, scripts, split, unroll};

/// A Redis that ends with the test.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start(path: &str) -> Self {
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
        Self { child, port }
    }

    /// A new connection; the first one waits until the server listens.
    fn connect(&mut self) -> Wire {
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
struct Wire(BufReader<TcpStream>);

impl Wire {
    fn ask(&mut self, argv: &[Vec<u8>]) -> Result<Answer, Box<dyn Error>> {
        let mut request = format!("*{}\r\n", argv.len()).into_bytes();
        for word in argv {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&request)?;
        self.answer()
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

struct Differential<'a> {
    redis: &'a mut Redis,
    connections: BTreeMap<String, Wire>,
}

impl Runner for Differential<'_> {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Result<String, Box<dyn Error>> {
        if command.name == "advance" {
            let millis =
                command.consume_args().next_pos().ok_or("advance by how much?")?.parse()?;
            std::thread::sleep(Duration::from_millis(millis));
            return Ok(String::new());
        }
        let name = context.prefix.clone().unwrap_or_default();
        let redis = &mut *self.redis;
        let wire = self.connections.entry(name).or_insert_with(|| redis.connect());
        let argv = split(&unroll(&command.name));
        let answer = wire.ask(&argv)?;
        let answer = if is_unordered(&argv) { answer.sorted() } else { answer };
        Ok(format!("{} → {}", command.name, answer.show()))
    }
}

/// Redis answers every script as we do.
#[test]
fn redis_answers_the_same() {
    let Ok(path) = env::var("STEADFAST_REDIS") else {
        eprintln!("STEADFAST_REDIS is not set: nothing to compare with");
        return;
    };
    let mut redis = Redis::start(&path);
    let (mut compared, mut differences) = (0, Vec::new());
    for path in scripts() {
        let ours = fs::read_to_string(&path).expect("scripts are text");
        let counts = path.parent().is_some_and(|family| family.ends_with("log_time"));
        if counts || ours.lines().any(|line| line.starts_with("# differs:")) {
            continue;
        }
        redis.connect().ask(&[b"FLUSHALL".to_vec()]).expect("Redis answers");
        redis.connect().ask(&[b"SCRIPT".to_vec(), b"FLUSH".to_vec()]).expect("Redis answers");
        let mut runner = Differential { redis: &mut redis, connections: BTreeMap::new() };
        let theirs = goldenscript::generate(&mut runner, &ours).expect("the script runs");
        compared += 1;
        for (our, their) in ours.lines().zip(theirs.lines()).filter(|(our, their)| our != their) {
            differences.push(format!("{}\n  ours:   {our}\n  theirs: {their}", path.display()));
        }
        assert_eq!(ours.lines().count(), theirs.lines().count(), "{}", path.display());
    }
    assert!(compared > 10, "most scripts are compared");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
