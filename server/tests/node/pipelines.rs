//! What one connection sends at once: answered in order and to the end, whatever the size of replies and however it ends.

use std::process::{Command, Stdio};

use steadfast_core::reply::Reply;

use crate::harness::{Client, Node, TempDir, free_port, wait_for};

/// Sends commands in one write.
fn send(client: &mut Client, commands: &[&str]) {
    let lines: Vec<String> = commands.iter().map(|command| format!("{command}\r\n")).collect();
    client.send_raw(lines.concat().as_bytes()).expect("it takes requests");
}

/// Sends commands in one write; answers their replies.
fn call(client: &mut Client, commands: &[&str]) -> Vec<Reply<'static>> {
    send(client, commands);
    commands.iter().map(|command| client.receive().expect(command)).collect()
}

/// Commands behind large replies are run once those have left; nothing has to be sent for that.
#[test]
fn large_replies_do_not_hold_up_what_follows() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let mut client = node.client();
    let large = "0123456789".repeat(200_000);
    assert_eq!(client.call(&["SET", "large", &large]).expect("it serves"), Reply::Ok);
    let mut commands = vec!["GET large"; 20];
    commands.push("PING");
    let replies = call(&mut client, &commands);
    assert!(replies.iter().take(20).all(|reply| *reply == Reply::bulk(large.as_bytes())));
    assert_eq!(replies.last(), Some(&Reply::status("PONG")));
}

/// What was sent before the end of a connection is answered before it ends: a QUIT, a protocol error, a closed sending side.
#[test]
fn everything_owed_leaves_before_the_end() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    drop(node.client());
    let mut client = Client::connect(node.port).expect("it serves");
    assert_eq!(call(&mut client, &["SET k v", "QUIT"]), [Reply::Ok, Reply::Ok]);
    assert!(client.receive().is_err(), "the connection is closed");

    let mut client = Client::connect(node.port).expect("it serves");
    send(&mut client, &["SET k w", "GET k", "*1\r\n+x"]);
    assert_eq!(client.receive().expect("the write is answered"), Reply::Ok);
    assert_eq!(client.receive().expect("the read is answered"), Reply::bulk(b"w"));
    assert!(matches!(client.receive(), Ok(Reply::Error(_))));
    assert!(client.receive().is_err(), "the connection is closed");

    let mut client = Client::connect(node.port).expect("it serves");
    send(&mut client, &["SET k x", "GET k"]);
    client.finish().expect("the connection holds");
    assert_eq!(client.receive().expect("the write is answered"), Reply::Ok);
    assert_eq!(client.receive().expect("the read is answered"), Reply::bulk(b"x"));
    assert!(client.receive().is_err(), "the connection is closed");
}

/// A transaction that selects no database changes none: what is selected behind it stays.
#[test]
fn a_transaction_leaves_the_selected_database() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let mut client = node.client();
    let replies = call(&mut client, &["MULTI", "SET a 1", "EXEC", "SELECT 5"]);
    assert_eq!(replies.last(), Some(&Reply::Ok));
    assert_eq!(call(&mut client, &["SET b 2", "SELECT 0", "EXISTS b"])[2], Reply::Int(0));
    assert_eq!(call(&mut client, &["SELECT 5", "GET b"])[1], Reply::bulk(b"2"));
    let replies =
        call(&mut client, &["MULTI", "SELECT 3", "SET c 1", "EXEC", "GET c", "RESET", "GET c"]);
    assert_eq!(
        replies[4],
        Reply::bulk(b"1"),
        "the database that EXEC selects is that of what follows"
    );
    assert_eq!(replies[6], Reply::Nil);
}

/// More clients than there are files to open are refused; the log goes on finding those that it needs.
#[test]
fn clients_do_not_take_the_files_of_the_log() {
    let dir = TempDir::new();
    let port = free_port();
    let (port_text, path) = (port.to_string(), dir.path().display().to_string());
    let mut child = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 128 && exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_steadfast"),
            "server",
        ])
        .args(["--port", &port_text, "--dir", &path, "--segment-bytes", "65536"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("every POSIX system has sh");
    let mut client = wait_for("it serves", || {
        let mut client = Client::connect(port).ok()?;
        (client.call(&["PING"]).ok()? == Reply::status("PONG")).then_some(client)
    });
    let mut clients: Vec<Client> = (0..150).filter_map(|_| Client::connect(port).ok()).collect();
    let refused = clients.iter_mut().skip(100).filter_map(|client| client.call(&["PING"]).ok());
    assert!(refused.into_iter().any(|reply| matches!(reply, Reply::Error(_))));
    let value = "x".repeat(20_000);
    for _ in 0..30 {
        assert_eq!(client.call(&["SET", "k", &value]).expect("the node lives"), Reply::Ok);
    }
    child.kill().expect("it runs");
    child.wait().expect("it is our child");
}

/// What this node answers itself inside a transaction happens with it: in order when it runs, not at all when a watched key
/// has changed. What follows in the pipeline sees the one or the other.
#[test]
fn local_commands_run_with_their_transaction() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let (mut client, mut other) = (node.client(), node.client());
    let limit = |name: &'static str| {
        Reply::Array(vec![Reply::bulk(b"maxclients"), Reply::bulk(name.as_bytes())])
    };
    assert_eq!(call(&mut client, &["CONFIG SET maxclients 500"]), [Reply::Ok]);
    let transaction = [
        "MULTI",
        "CLIENT SETNAME renamed",
        "CONFIG SET maxclients 77",
        "CLIENT GETNAME",
        "SELECT 3",
        "SET k v",
        "EXEC",
        "CLIENT GETNAME",
        "CONFIG GET maxclients",
        "GET k",
        "SELECT 0",
    ];
    let behind = |replies: Vec<Reply<'static>>| replies[6..10].to_vec();

    assert_eq!(call(&mut client, &["WATCH watched"]), [Reply::Ok]);
    assert_eq!(call(&mut other, &["SET watched changed"]), [Reply::Ok]);
    let aborted = behind(call(&mut client, &transaction));
    assert_eq!(aborted, [Reply::NilArray, Reply::Nil, limit("500"), Reply::Nil]);

    let exec =
        Reply::Array(vec![Reply::Ok, Reply::Ok, Reply::bulk(b"renamed"), Reply::Ok, Reply::Ok]);
    let ran = behind(call(&mut client, &transaction));
    assert_eq!(ran, [exec, Reply::bulk(b"renamed"), limit("77"), Reply::bulk(b"v")]);
    assert_eq!(call(&mut client, &["EXISTS k"]), [Reply::Int(0)], "it was written to database 3");
}
