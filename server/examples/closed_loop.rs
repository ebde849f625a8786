//! A closed-loop load of durable writes on three servers that replicate: every connection waits for its answer before it sends the next.
//! One loop for all protocols, so that what is compared is the servers.
//!
//! Usage: `closed_loop set|wait|etcd PORT CONNECTIONS SECONDS [KEYS] [STREAMS]`. `set` sends SET; `wait` sends SET and WAIT 1 at once and
//! counts the pair; `etcd` sends `etcdserverpb.KV/Put` (gRPC over HTTP/2), as many at a time on each connection as STREAMS says. Prints one
//! line: writes a second and milliseconds.

#![allow(clippy::print_stdout)] // what it is for

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

const VALUE_BYTES: usize = 100;

type Outcome = Result<(), Box<dyn Error>>;

/// What all connections share.
struct Load {
    port: u16,
    keys: u64,
    draw: u64,
    until: Instant,
    took: Vec<Duration>,
}

impl Load {
    fn key(&mut self) -> String {
        self.draw ^= self.draw << 13;
        self.draw ^= self.draw >> 7;
        self.draw ^= self.draw << 17;
        format!("key:{:012}", (self.draw >> 8) % self.keys)
    }
}

/// <https://etcd.io/docs/v3.4/dev-guide/api_reference_v3/>: the fields that a plain put fills.
#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

async fn connect(load: &RefCell<Load>) -> std::io::Result<TcpStream> {
    let port = load.borrow().port;
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// SETs, and after each what `then` says; `answers` is how all that is answered, as it begins.
async fn resp(load: Rc<RefCell<Load>>, then: &str, answers: &[u8]) -> Outcome {
    let mut stream = connect(&load).await?;
    let value = "v".repeat(VALUE_BYTES);
    let mut answer = Vec::new();
    loop {
        let key = load.borrow_mut().key();
        let request = format!(
            "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${VALUE_BYTES}\r\n{value}\r\n{then}",
            key.len()
        );
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        while !answer.ends_with(b"\r\n") || answer.len() < answers.len() + 2 {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err("the server closed a connection".into());
            }
        }
        if !answer.starts_with(answers) {
            return Err(format!("the server answered {}", String::from_utf8_lossy(&answer)).into());
        }
        let mut load = load.borrow_mut();
        load.took.push(began.elapsed());
        if Instant::now() >= load.until {
            return Ok(());
        }
    }
}

/// Puts on one connection, `streams` of them at a time.
async fn etcd(load: Rc<RefCell<Load>>, streams: usize) -> Outcome {
    let (sender, connection) = h2::client::handshake(connect(&load).await?).await?;
    let driving = tokio::task::spawn_local(connection);
    let puts: Vec<_> = (0..streams)
        .map(|_| tokio::task::spawn_local(puts(load.clone(), sender.clone())))
        .collect();
    for put in puts {
        put.await??;
    }
    driving.abort();
    Ok(())
}

async fn puts(load: Rc<RefCell<Load>>, sender: h2::client::SendRequest<Bytes>) -> Outcome {
    let mut sender = sender;
    let uri = format!("http://127.0.0.1:{}/etcdserverpb.KV/Put", load.borrow().port);
    loop {
        let request = http::Request::post(&uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let put = PutRequest {
            key: load.borrow_mut().key().into_bytes(),
            value: vec![b'v'; VALUE_BYTES],
        };
        // A gRPC message: not compressed, its length, its bytes.
        let mut body = vec![0];
        body.extend(u32::try_from(put.encoded_len())?.to_be_bytes());
        put.encode(&mut body)?;
        let began = Instant::now();
        sender = sender.ready().await?;
        let (response, mut stream) = sender.send_request(request, false)?;
        stream.send_data(body.into(), true)?;
        let mut response = response.await?.into_body();
        while let Some(part) = response.data().await {
            let length = part?.len();
            response.flow_control().release_capacity(length)?;
        }
        let status = response.trailers().await?.and_then(|it| it.get("grpc-status").cloned());
        if status.as_ref().is_none_or(|it| it.as_bytes() != b"0") {
            return Err(format!("etcd answered status {status:?}").into());
        }
        let mut load = load.borrow_mut();
        load.took.push(began.elapsed());
        if Instant::now() >= load.until {
            return Ok(());
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let (Some(kind), Some(port), Some(connections), Some(seconds)) =
        (words.first(), number(1), number(2), number(3))
    else {
        return Err(
            "usage: closed_loop set|wait|etcd PORT CONNECTIONS SECONDS [KEYS] [STREAMS]".into()
        );
    };
    let began = Instant::now();
    let load = Rc::new(RefCell::new(Load {
        port: u16::try_from(port)?,
        keys: number(4).unwrap_or(100_000),
        draw: 0x9E37_79B9_7F4A_7C15,
        until: began + Duration::from_secs(seconds),
        took: Vec::new(),
    }));
    let streams = usize::try_from(number(5).unwrap_or(1))?;
    let clients = LocalSet::new();
    let running: Vec<_> = (0..connections)
        .map(|_| {
            let (load, kind) = (load.clone(), kind.clone());
            clients.spawn_local(async move {
                match kind.as_str() {
                    "set" => resp(load, "", b"+OK").await,
                    "wait" => resp(load, "WAIT 1 0\r\n", b"+OK\r\n:").await,
                    "etcd" => etcd(load, streams).await,
                    other => Err(format!("unknown protocol {other}").into()),
                }
            })
        })
        .collect();
    clients
        .run_until(async {
            for client in running {
                client.await??;
            }
            Outcome::Ok(())
        })
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    let took = &mut load.borrow_mut().took;
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{:.0} writes a second, p50 {:.3} p99 {:.3} ms",
        took.len() as f64 / seconds,
        at(0.5),
        at(0.99)
    );
    Ok(())
}
