//! Bad input of every kind: one clear message, nothing lost, never a panic.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use steadfast_core::reply::Reply;

use crate::harness::{Client, Node, TempDir, free_port, refusal, wait_for};

/// The texts that Redis 7 answers, on one connection each; the server lives on.
#[test]
fn protocol_errors_end_the_connection_and_nothing_else() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let mut witness = node.client();
    let endless = vec![b'x'; 70_000];
    let cases: [(&[u8], &str); 7] = [
        (b"*1\r\n+PING\r\n", "ERR Protocol error: expected '$', got '+'"),
        (b"*x\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*2147483648\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n$-5\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$9999999999\r\n", "ERR Protocol error: invalid bulk length"),
        (b"SET \"k\r\n", "ERR Protocol error: unbalanced quotes in request"),
        (&endless, "ERR Protocol error: too big inline request"),
    ];
    for (bytes, expected) in cases {
        let mut client = Client::connect(node.port).expect("it serves");
        client.send_raw(bytes).expect("it reads");
        let reply = client.receive().expect("it answers before it closes");
        assert_eq!(reply, Reply::Error(steadfast_core::error::ReplyError::made(expected)));
        assert!(client.receive().is_err(), "the connection is closed");
    }
    assert_eq!(witness.call(&["SET", "k", "v"]).expect("it serves"), Reply::Ok);
}

/// With a password, a client that has not given it is given little room, until it has: also in the same pipeline. A line of the
/// protocol ends behind its CR, as in Redis.
#[test]
fn strangers_have_little_room() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &["--requirepass", "secret"]);
    let large = "x".repeat(16_385);
    let ping = format!("*2\r\n$4\r\nPING\r\n$16385\r\n{large}\r\n");
    let mut client = wait_for("it listens", || Client::connect(node.port).ok());
    client.send_raw(b"*1\rX$4\rXPING\r\n").expect("it reads");
    assert!(matches!(client.receive(), Ok(Reply::Error(_))), "NOAUTH, and the connection holds");
    client.send_raw(format!("AUTH secret\r\n{ping}RESET\r\n{ping}").as_bytes()).expect("it reads");
    assert_eq!(client.receive().expect("it answers"), Reply::Ok);
    assert_eq!(client.receive().expect("it answers"), Reply::bulk(large.as_bytes()));
    assert_eq!(client.receive().expect("it answers"), Reply::status("RESET"));
    let refused = |client: &mut Client, text: &str| {
        let reply = client.receive().expect("it answers before it closes");
        assert_eq!(reply, Reply::Error(steadfast_core::error::ReplyError::made(text)));
        assert!(client.receive().is_err(), "the connection is closed");
    };
    refused(&mut client, "ERR Protocol error: unauthenticated bulk length");
    let mut client = Client::connect(node.port).expect("it serves");
    client.send_raw(b"*11\r\n").expect("it reads");
    refused(&mut client, "ERR Protocol error: unauthenticated multibulk length");
}

/// Limits that CONFIG SET changes reach connections that are open.
#[test]
fn limits_reach_open_connections() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let (mut client, mut other) = (node.client(), node.client());
    let large = "x".repeat((1 << 20) + 1);
    assert_eq!(client.call(&["SET", "k", &large]).expect("it serves"), Reply::Ok);
    let lower = ["CONFIG", "SET", "proto-max-bulk-len", "1mb"];
    assert_eq!(other.call(&lower).expect("it serves"), Reply::Ok);
    let _ = client.send(&["SET", "k", &large.replace('x', "y")]); // it may be refused before it has been sent
    if let Ok(reply) = client.receive() {
        assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
    }
    assert_eq!(other.call(&["GETRANGE", "k", "0", "0"]).expect("it serves"), Reply::bulk(b"x"));
}

/// Unknown commands, wrong arity and unknown options in Redis's own words.
#[test]
fn command_errors_in_redis_words() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let mut client = node.client();
    let cases: [(&[&str], &str); 6] = [
        (&["NOPE", "a", "b"], "ERR unknown command 'NOPE', with args beginning with: 'a' 'b' "),
        (&["GET"], "ERR wrong number of arguments for 'get' command"),
        (&["SET", "k", "v", "NOPE"], "ERR syntax error"),
        (&["SET", "k", "v", "EX", "0"], "ERR invalid expire time in 'set' command"),
        (&["EXEC"], "ERR EXEC without MULTI"),
        (&["SELECT", "16"], "ERR DB index is out of range"),
    ];
    for (argv, expected) in cases {
        assert_eq!(client.refused(argv), expected);
    }
    assert_eq!(client.call(&["SET", "n", "x"]).expect("it serves"), Reply::Ok);
    assert_eq!(client.refused(&["INCR", "n"]), "ERR value is not an integer or out of range");
}

/// Requests above the limit are refused before they get a number.
#[test]
fn oversized_requests_are_refused() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &["--max-request", "1048576"]);
    let mut client = node.client();
    let big = "x".repeat(1_500_000);
    let _ = client.send(&["SET", "k", &big]);
    if let Ok(reply) = client.receive() {
        assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
    }
    assert_eq!(node.client().call(&["GET", "k"]).expect("it serves"), Reply::Nil);
}

/// What MULTI queues has the bound of one request: above it EXEC refuses, and nothing of it is applied.
#[test]
fn oversized_transactions_are_refused() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &["--max-request", "1048576"]);
    let mut client = node.client();
    let big = "x".repeat(400_000);
    assert_eq!(client.call(&["MULTI"]).expect("it serves"), Reply::Ok);
    for key in ["a", "b"] {
        assert_eq!(client.call(&["SET", key, &big]).expect("it serves"), Reply::status("QUEUED"));
    }
    assert!(client.refused(&["SET", "c", &big]).contains("--max-request"));
    assert!(client.refused(&["EXEC"]).starts_with("EXECABORT "));
    assert_eq!(client.call(&["EXISTS", "a", "b", "c"]).expect("it serves"), Reply::Int(0));
}

/// Values larger than a log entry travel in parts and come back whole, also after a kill.
#[test]
fn huge_values_travel_in_parts() {
    let dir = TempDir::new();
    let mut node = Node::start(dir.path(), &[]);
    let big = "0123456789abcdef".repeat(400_000);
    assert_eq!(node.client().call(&["SET", "big", &big]).expect("it serves"), Reply::Ok);
    node.kill();
    node.restart();
    let reply = node.client().call(&["GET", "big"]).expect("it serves");
    assert!(reply == Reply::bulk(big.as_bytes()), "the value came back changed");
}

/// Flags that contradict each other, a port in use, a directory that can't be used or belongs to another node.
#[test]
fn start_up_refusals_say_what_to_do() {
    let dir = TempDir::new();
    let path = dir.path().display().to_string();
    let three = "1=127.0.0.1:7101,2=127.0.0.1:7102,3=127.0.0.1:7103";
    let said = refusal(&["server", "--dir", &path, "--cluster", three]);
    assert!(said.contains("--node-id"), "{said}");
    let said = refusal(&["server", "--dir", &path, "--node-id", "9", "--cluster", three]);
    assert!(said.contains('9'), "{said}");
    let lazy = ["--node-id", "1", "--cluster", three, "--appendfsync", "everysec"];
    let said = refusal(&[&["server", "--dir", &path][..], &lazy[..]].concat());
    assert!(said.contains("appendfsync"), "{said}");

    let mut node = Node::start(dir.path(), &[]);
    node.client();
    let other = TempDir::new();
    let (port, other_path) = (node.port.to_string(), other.path().display().to_string());
    let said = refusal(&["server", "--port", &port, "--dir", &other_path]);
    assert!(said.contains(&port), "{said}");
    node.kill();

    let said = refusal(&["server", "--dir", &path, "--node-id", "2", "--cluster", three]);
    assert!(said.contains("node"), "a directory of another node: {said}");

    fs::set_permissions(other.path(), fs::Permissions::from_mode(0o555)).expect("it is ours");
    let read_only = other.path().join("data").display().to_string();
    let root = fs::create_dir(&read_only).is_ok(); // root writes everywhere: a file in the way serves as well
    let unusable = if root { format!("{path}/meta/below") } else { read_only };
    let said = refusal(&["server", "--port", &free_port().to_string(), "--dir", &unusable]);
    assert!(said.contains(&unusable), "{said}");
    fs::set_permissions(other.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// A byte flipped in the middle of the log, and a snapshot cut short: the node names file and offset and does not start
/// on less than it promised.
#[test]
fn damage_is_named_and_never_served() {
    let dir = TempDir::new();
    let mut node = Node::start(dir.path(), &[]);
    let mut client = node.client();
    for at in 0..200 {
        let reply = client.call(&["SET", &format!("k{at}"), "value"]).expect("it serves");
        assert_eq!(reply, Reply::Ok);
    }
    node.kill();
    let segment = fs::read_dir(dir.path())
        .expect("it is there")
        .map(|file| file.expect("it is there").path())
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"))
        })
        .min()
        .expect("there is a segment");
    let mut bytes = fs::read(&segment).expect("it is there");
    let needle = b"k100";
    let at = bytes.windows(needle.len()).position(|w| w == needle).expect("the log holds argv");
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).expect("it is ours");
    let path = dir.path().display().to_string();
    let said = refusal(&["server", "--port", &free_port().to_string(), "--dir", &path]);
    let name = segment.file_name().expect("it has one").to_string_lossy().into_owned();
    assert!(said.contains(&name), "{said}");

    bytes[at] ^= 1;
    fs::write(&segment, &bytes).expect("it is ours");
    node.restart();
    let value = node.client().call(&["GET", "k199"]).expect("it serves");
    assert_eq!(value, Reply::bulk(b"value"), "refusing changed nothing");
}
