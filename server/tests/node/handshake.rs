//! What clients say before they work: HELLO, AUTH, CLIENT, RESET, SELECT, and transactions around them. Replies are Redis's:
//! with `STEADFAST_REDIS=/path/to/redis-server` (7.0.15) a real one holds the same conversations.

use std::process::{Child, Command, Stdio};

use steadfast_core::reply::Reply;

use crate::harness::{Client, Node, TempDir, free_port, wait_for};

/// A line of a conversation and its answer; `…` at an answer's end stands for the rest of it. Blanks part words, tabs don't.
type Line = (&'static str, &'static str);

/// A Redis that ends with the test.
struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `check` against a node, and against Redis if there is one.
fn on_both(password: &str, check: impl Fn(&dyn Fn() -> Client)) {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &["--requirepass", password]);
    let ready = |port| {
        wait_for("it serves", || {
            let mut client = Client::connect(port).ok()?;
            let reply = show(&client.call(&["PING"]).ok()?);
            (reply == "+PONG" || reply.starts_with("-NOAUTH")).then_some(())
        });
    };
    let clients = |port| move || Client::connect(port).expect("it serves");
    ready(node.port);
    check(&clients(node.port));
    let Ok(path) = std::env::var("STEADFAST_REDIS") else { return };
    let port = free_port();
    let child = Command::new(path)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--requirepass", password])
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .spawn();
    let _redis = Redis(child.expect("STEADFAST_REDIS names a redis-server"));
    ready(port);
    check(&clients(port));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A reply in words; what differs between any two servers is `*`.
fn show(reply: &Reply<'_>) -> String {
    let all = |replies: &[Reply<'_>]| {
        let mut shown: Vec<String> = replies.iter().map(show).collect();
        for at in 1..shown.len() {
            if ["id", "version"].contains(&&*shown[at - 1]) {
                "*".clone_into(&mut shown[at]);
            }
        }
        shown.join(" ")
    };
    match reply {
        Reply::Ok => "+OK".to_owned(),
        Reply::Status(status) => format!("+{}", text(status)),
        Reply::Error(error) => format!("-{}", text(error.text())),
        Reply::Int(number) => format!(":{number}"),
        Reply::Bulk(bytes) | Reply::Verbatim(bytes) => text(bytes),
        Reply::Nil => "nil".to_owned(),
        Reply::Array(replies) => format!("[{}]", all(replies)),
        Reply::Map(pairs) => {
            let flat: Vec<Reply<'_>> =
                pairs.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect();
            format!("{{{}}}", all(&flat))
        }
        other => format!("{other:?}"),
    }
}

fn hold(client: &mut Client, conversation: &[Line]) {
    for (line, expected) in conversation {
        let words: Vec<&str> =
            line.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect();
        let reply = show(&client.call(&words).expect("the connection holds"));
        match expected.strip_suffix('…') {
            Some(start) => assert!(reply.starts_with(start), "{line}: {reply}"),
            None => assert_eq!(&reply, expected, "{line}"),
        }
    }
}

const HELLO_2: &str =
    "[server redis version * proto :2 id * mode standalone role master modules []]";
const HELLO_3: &str =
    "{server redis version * proto :3 id * mode standalone role master modules []}";
const NOAUTH: &str = "-NOAUTH Authentication required.";
const HELLO_NOAUTH: &str =
    "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO …";
const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.";
const BAD_NAME: &str = "-ERR Client names cannot contain spaces, newlines or special characters.";
const NO_INTEGER: &str = "-ERR value is not an integer or out of range";

/// HELLO without a password: versions, options, and what a refused HELLO leaves as it was.
#[test]
fn hello() {
    on_both("", |connect| {
        let mut client = connect();
        hold(
            &mut client,
            &[
                ("HELLO", HELLO_2),
                ("HELLO 3", HELLO_3),
                ("HELLO", HELLO_3),
                ("HELLO 2", HELLO_2),
                ("HELLO 4", "-NOPROTO unsupported protocol version"),
                ("HELLO 1", "-NOPROTO unsupported protocol version"),
                ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
                ("HELLO \"\"", "-ERR Protocol version is not an integer or out of range"),
                ("HELLO 2 AUTH default whatever", HELLO_2),
                ("HELLO 3 AUTH nosuch whatever", WRONGPASS),
                ("HELLO", HELLO_2),
                ("HELLO 3 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'"),
                ("HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'"),
                ("HELLO 3 WHAT", "-ERR Syntax error in HELLO option 'WHAT'"),
                ("HELLO 3 SETNAME a\tb", BAD_NAME),
                ("CLIENT GETNAME", "nil"),
                ("HELLO", HELLO_2),
                ("HELLO 3 SETNAME one", HELLO_3),
                ("CLIENT GETNAME", "one"),
                ("hello 2 setname two setname three", HELLO_2),
                ("CLIENT GETNAME", "three"),
                ("HELLO 3 AUTH default x SETNAME four", HELLO_3),
                ("CLIENT GETNAME", "four"),
            ],
        );
    });
}

/// The null of each protocol, byte by byte.
#[test]
fn protocols_have_their_nulls() {
    on_both("", |connect| {
        let mut client = connect();
        for (version, null) in [("3", "_\r\n"), ("2", "$-1\r\n"), ("3", "_\r\n")] {
            hold(&mut client, &[(["HELLO 2", "HELLO 3"][usize::from(version == "3")], "…")]);
            client.send(&["GET", "missing"]).expect("the connection holds");
            let bytes = client.receive_raw(null.len()).expect("the connection holds");
            assert_eq!(String::from_utf8_lossy(&bytes), null);
        }
    });
}

/// AUTH where no password is set, and with arguments that do not fit.
#[test]
fn auth_without_a_password() {
    on_both("", |connect| {
        let none = "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                    configuration is correct?";
        hold(
            &mut connect(),
            &[
                ("AUTH x", none),
                ("AUTH default x", "+OK"),
                ("AUTH nosuch x", WRONGPASS),
                ("AUTH", "-ERR wrong number of arguments for 'auth' command"),
                ("AUTH a b c", "-ERR syntax error"),
                ("PING", "+PONG"),
            ],
        );
    });
}

/// With a password: what may be said before it, what lets in, and what does not.
#[test]
fn auth_with_a_password() {
    on_both("secret", |connect| {
        hold(
            &mut connect(),
            &[
                ("PING", NOAUTH),
                ("CLIENT ID", NOAUTH),
                ("MULTI", NOAUTH),
                ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: "),
                ("GET", "-ERR wrong number of arguments for 'get' command"),
                ("HELLO", HELLO_NOAUTH),
                ("HELLO 3", HELLO_NOAUTH),
                ("HELLO 2 SETNAME x", HELLO_NOAUTH),
                ("AUTH wrong", WRONGPASS),
                ("AUTH secret1", WRONGPASS),
                ("AUTH secre", WRONGPASS),
                ("AUTH \"\"", WRONGPASS),
                ("AUTH default wrong", WRONGPASS),
                ("AUTH nosuch secret", WRONGPASS),
                ("HELLO 3 AUTH default wrong", WRONGPASS),
                ("HELLO 4 AUTH default secret", "-NOPROTO unsupported protocol version"),
                ("HELLO 3 SETNAME a\tb AUTH default secret", BAD_NAME),
                ("PING", NOAUTH),
                ("RESET", "+RESET"),
                ("AUTH secret", "+OK"),
                ("PING", "+PONG"),
                ("AUTH wrong", WRONGPASS),
                ("PING", "+PONG"),
                ("RESET", "+RESET"),
                ("PING", NOAUTH),
                ("AUTH default secret", "+OK"),
                ("PING", "+PONG"),
            ],
        );
        hold(
            &mut connect(),
            &[
                ("HELLO 3 AUTH default secret SETNAME me", HELLO_3),
                ("CLIENT GETNAME", "me"),
                ("HELLO", HELLO_3),
            ],
        );
        let half =
            [("HELLO 3 AUTH default secret WHAT", "-ERR Syntax error in HELLO option 'WHAT'")];
        let mut client = connect();
        hold(&mut client, &half);
        hold(&mut client, &[("PING", "+PONG"), ("HELLO", HELLO_2)]);
        hold(&mut connect(), &[("QUIT", "+OK")]);
    });
}

/// Names and ids of connections.
#[test]
fn client_names() {
    on_both("", |connect| {
        let (mut one, mut other) = (connect(), connect());
        let id = |client: &mut Client| match client.call(&["CLIENT", "ID"]) {
            Ok(Reply::Int(id)) => id,
            reply => panic!("CLIENT ID answered {reply:?}"),
        };
        assert!(id(&mut one) < id(&mut other), "ids rise");
        assert_eq!(id(&mut one), id(&mut one));
        hold(
            &mut one,
            &[
                ("CLIENT GETNAME", "nil"),
                ("CLIENT SETNAME one", "+OK"),
                ("CLIENT GETNAME", "one"),
                ("CLIENT SETNAME a\tb", BAD_NAME),
                ("CLIENT SETNAME é", BAD_NAME),
                ("CLIENT GETNAME", "one"),
                ("CLIENT SETNAME \"\"", "+OK"),
                ("CLIENT GETNAME", "nil"),
                ("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command"),
                ("CLIENT GETNAME x", "-ERR wrong number of arguments for 'client|getname' command"),
                ("CLIENT ID x", "-ERR wrong number of arguments for 'client|id' command"),
                ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
                ("CLIENT NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
                ("CLIENT|ID", "-ERR unknown command 'CLIENT|ID', with args beginning with: "),
            ],
        );
    });
}

/// CLIENT INFO and LIST: the fields that clients read, of the right connections.
#[test]
fn client_info_and_list() {
    on_both("", |connect| {
        let (mut one, mut other) = (connect(), connect());
        hold(&mut other, &[("CLIENT SETNAME other", "+OK"), ("SELECT 3", "+OK"), ("MULTI", "+OK")]);
        hold(&mut other, &[("GET a", "+QUEUED")]);
        hold(&mut one, &[("CLIENT SETNAME one", "+OK"), ("HELLO 3", HELLO_3)]);
        let mut lines = |argv: &[&str]| match one.call(argv) {
            Ok(Reply::Verbatim(text)) => String::from_utf8_lossy(&text).into_owned(),
            reply => panic!("{argv:?} answered {reply:?}"),
        };
        let has = |line: &str, fields: &[&str]| {
            for field in fields {
                assert!(
                    line.trim_end().split(' ').any(|own| own == *field),
                    "{field} is not in {line}"
                );
            }
        };
        let info = lines(&["CLIENT", "INFO"]);
        assert!(info.ends_with('\n') && info.lines().count() == 1, "{info}");
        has(
            &info,
            &[
                "name=one",
                "db=0",
                "flags=N",
                "multi=-1",
                "resp=3",
                "user=default",
                "cmd=client|info",
            ],
        );
        let list = lines(&["CLIENT", "LIST"]);
        let line = list.lines().find(|line| line.contains("name=other")).expect("it is connected");
        has(
            line,
            &["db=3", "flags=x", "multi=1", "resp=2", "cmd=get", "sub=0", "psub=0", "redir=-1"],
        );
        let id = line
            .split(' ')
            .next()
            .expect("split answers one")
            .strip_prefix("id=")
            .expect("it comes first");
        assert_eq!(lines(&["CLIENT", "LIST", "ID", id]).lines().count(), 1);
        assert!(lines(&["CLIENT", "LIST", "ID", id]).contains("name=other"));
        assert_eq!(lines(&["CLIENT", "LIST", "ID", "999999"]), "");
        assert_eq!(
            lines(&["CLIENT", "LIST", "TYPE", "NORMAL"]).lines().count(),
            list.lines().count()
        );
        assert_eq!(lines(&["CLIENT", "LIST", "TYPE", "pubsub"]), "");
        hold(
            &mut one,
            &[
                ("CLIENT LIST WHAT", "-ERR syntax error"),
                ("CLIENT LIST TYPE", "-ERR syntax error"),
                ("CLIENT LIST ID", "-ERR syntax error"),
                ("CLIENT LIST TYPE nosuch", "-ERR Unknown client type 'nosuch'"),
                ("CLIENT LIST ID x", "-ERR Invalid client ID"),
                ("CLIENT INFO x", "-ERR wrong number of arguments for 'client|info' command"),
            ],
        );
    });
}

/// CLIENT SETINFO is of Redis 7.2, so that no 7.0.15 can judge it; redis-py 5 says it first thing.
#[test]
fn client_setinfo() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    let mut client = node.client();
    let bad = "-ERR lib-name and lib-ver cannot contain spaces, newlines or special characters.";
    hold(
        &mut client,
        &[
            ("CLIENT SETINFO LIB-NAME redis-py", "+OK"),
            ("CLIENT SETINFO lib-ver 5.0.1", "+OK"),
            ("CLIENT SETINFO LIB-NAME a\tb", bad),
            ("CLIENT SETINFO LIB-WHAT x", "-ERR Unrecognized option 'LIB-WHAT'"),
            (
                "CLIENT SETINFO LIB-NAME",
                "-ERR wrong number of arguments for 'client|setinfo' command",
            ),
        ],
    );
    let info = show(&client.call(&["CLIENT", "INFO"]).expect("the connection holds"));
    assert!(info.contains(" lib-name=redis-py lib-ver=5.0.1"), "{info}");
}

/// RESET makes a connection new: database, name, protocol and transaction are gone.
#[test]
fn reset() {
    on_both("", |connect| {
        hold(
            &mut connect(),
            &[
                ("SELECT 1", "+OK"),
                ("SET k v", "+OK"),
                ("CLIENT SETNAME r", "+OK"),
                ("HELLO 3", HELLO_3),
                ("WATCH k", "+OK"),
                ("MULTI", "+OK"),
                ("SET k w", "+QUEUED"),
                ("RESET", "+RESET"),
                ("CLIENT GETNAME", "nil"),
                ("HELLO", HELLO_2),
                ("EXISTS k", ":0"),
                ("EXEC", "-ERR EXEC without MULTI"),
                ("SELECT 1", "+OK"),
                ("GET k", "v"),
                ("RESET x", "-ERR wrong number of arguments for 'reset' command"),
            ],
        );
    });
}

/// Commands of the connection inside transactions, and databases that there are not.
#[test]
fn transactions_and_databases() {
    on_both("", |connect| {
        let range = "-ERR value is out of range, value must between -2147483648 and 2147483647";
        hold(
            &mut connect(),
            &[
                ("MULTI", "+OK"),
                ("UNWATCH", "+QUEUED"),
                ("CLIENT GETNAME", "+QUEUED"),
                ("SELECT 2", "+QUEUED"),
                ("SELECT 99", "+QUEUED"),
                ("SET in-two 1", "+QUEUED"),
                ("EXEC", "[+OK nil +OK -ERR DB index is out of range +OK]"),
                ("GET in-two", "1"),
                ("SELECT 0", "+OK"),
                ("EXISTS in-two", ":0"),
                ("SELECT x", NO_INTEGER),
                ("SELECT \"\"", NO_INTEGER),
                ("SELECT 01", NO_INTEGER),
                ("SELECT 99999999999999999999", NO_INTEGER),
                ("SELECT 4294967296", range),
                ("SELECT 16", "-ERR DB index is out of range"),
                ("SELECT -1", "-ERR DB index is out of range"),
                ("SELECT", "-ERR wrong number of arguments for 'select' command"),
                ("WATCH a", "+OK"),
                ("MULTI", "+OK"),
                ("MULTI", "-ERR MULTI calls can not be nested"),
                ("WATCH b", "-ERR WATCH inside MULTI is not allowed"),
                ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: "),
                ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
                ("DISCARD", "-ERR DISCARD without MULTI"),
                ("MULTI", "+OK"),
                ("SET b 3", "+QUEUED"),
                (
                    "EXEC now",
                    "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
                ),
                ("EXEC", "-ERR EXEC without MULTI"),
            ],
        );
    });
}

/// COMMAND tells about commands in Redis's shapes.
#[test]
fn command() {
    on_both("", |connect| {
        hold(
            &mut connect(),
            &[
                ("COMMAND INFO nosuch", "[nil]"),
                ("COMMAND NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP."),
                ("COMMAND GETKEYS MSET a 1 b 2", "[a b]"),
                ("COMMAND GETKEYS EVAL x 2 a b c", "[a b]"),
                ("COMMAND GETKEYS EVAL x 0", "[]"),
                ("COMMAND GETKEYS EVAL x 3 a", "[]"),
                (
                    "COMMAND GETKEYS MSET a",
                    "-ERR Invalid number of arguments specified for command",
                ),
                ("COMMAND GETKEYS NOSUCH a", "-ERR Invalid command specified"),
                (
                    "COMMAND GETKEYS PING",
                    "-ERR wrong number of arguments for 'command|getkeys' command",
                ),
                ("COMMAND GETKEYS PING x", "-ERR The command has no key arguments"),
                ("COMMAND GETKEYS CLIENT ID", "-ERR The command has no key arguments"),
            ],
        );
    });
}

/// COMMAND INFO: arity, flags, key positions and ACL categories, of the commands where nothing is meant to differ.
#[test]
fn command_info() {
    on_both("", |connect| {
        let mut client = connect();
        for (name, expected) in [
            ("get", ":2 fast readonly :1 :1 :1 @fast @read @string"),
            ("SET", ":-3 denyoom write :1 :1 :1 @slow @string @write"),
            ("mset", ":-3 denyoom write :1 :-1 :2 @slow @string @write"),
            ("del", ":-2 write :1 :-1 :1 @keyspace @slow @write"),
            ("rename", ":3 write :1 :2 :1 @keyspace @slow @write"),
            ("keys", ":2 readonly :0 :0 :0 @dangerous @keyspace @read @slow"),
            ("flushall", ":-1 write :0 :0 :0 @dangerous @keyspace @slow @write"),
            ("swapdb", ":3 fast write :0 :0 :0 @dangerous @fast @keyspace @write"),
            ("dbsize", ":1 fast readonly :0 :0 :0 @fast @keyspace @read"),
            ("ping", ":-1 fast :0 :0 :0 @connection @fast"),
            ("script|exists", ":-3 noscript :0 :0 :0 @scripting @slow"),
            ("client|id", ":2 loading noscript stale :0 :0 :0 @connection @slow"),
            ("config|get", ":-3 admin loading noscript stale :0 :0 :0 @admin @dangerous @slow"),
            ("client", ":-2  :0 :0 :0 @slow"),
        ] {
            let reply = client.call(&["COMMAND", "INFO", name]).expect("the connection holds");
            let Reply::Array(entries) = &reply else { panic!("{name}: {reply:?}") };
            let [Reply::Array(entry)] = &entries[..] else { panic!("{name}: {reply:?}") };
            let words = |at: usize| match &entry[at] {
                Reply::Array(words) => {
                    let mut words: Vec<String> = words.iter().map(show).collect();
                    words.sort();
                    words.join(" ").replace('+', "")
                }
                other => show(other),
            };
            assert_eq!((1..7).map(words).collect::<Vec<_>>().join(" "), expected, "{name}");
            assert_eq!(words(0), name.to_lowercase());
        }
    });
}

/// Commands of Redis that are not here say so in the words of Redis for what it has not.
#[test]
fn absent_commands() {
    let dir = TempDir::new();
    let node = Node::start(dir.path(), &[]);
    hold(
        &mut node.client(),
        &[
            ("WAIT 0 0", "-ERR unknown command 'WAIT', with args beginning with: '0' '0' "),
            ("SAVE", "-ERR unknown command 'SAVE', with args beginning with: "),
            ("BGREWRITEAOF", "-ERR unknown command 'BGREWRITEAOF', with args beginning with: "),
            (
                "DEBUG SLEEP 0",
                "-ERR unknown command 'DEBUG', with args beginning with: 'SLEEP' '0' ",
            ),
        ],
    );
}
