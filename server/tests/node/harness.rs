//! Starts nodes and talks to them. Waiting here is always for a condition, never for a time.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use steadfast_core::reply::Reply;
use steadfast_server::resp::read_reply;

/// How long a condition may take before the test says that it never came true.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rounds of a kill test: `quick` under plain `cargo test`, more if asked for.
pub(crate) fn rounds(quick: u32, full: u32) -> u32 {
    if std::env::var_os("STEADFAST_FULL").is_some() { full } else { quick }
}

/// Waits until `condition` answers something.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A port that was free a moment ago, and that no other test is given: its node may be down for a while, and come back.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        if GIVEN.lock().expect("nobody panics with it").insert(port) {
            return port;
        }
    }
}

/// A directory of its own that goes with the test.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "steadfast-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary with these arguments, not yet started.
pub(crate) fn steadfast(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What the binary says on standard error when it must refuse to start.
pub(crate) fn refusal(arguments: &[&str]) -> String {
    let output = steadfast(arguments).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?} started: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// A running node.
pub(crate) struct Node {
    pub(crate) port: u16,
    arguments: Vec<String>,
    child: Child,
}

impl Node {
    /// Starts a node on a port of its own; `more` are further arguments.
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        let port = free_port();
        let mut arguments = vec!["server".to_owned(), "--port".to_owned(), port.to_string()];
        arguments.push("--dir".to_owned());
        arguments.push(dir.display().to_string());
        arguments.extend(more.iter().map(|&word| word.to_owned()));
        let child = Self::spawn(&arguments);
        Self { port, arguments, child }
    }

    fn spawn(arguments: &[String]) -> Child {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        steadfast(&words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary was built by cargo")
    }

    /// Ends the process as a power switch would, as far as a process can tell.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again with the same arguments.
    pub(crate) fn restart(&mut self) {
        self.restart_once_with(&[]);
    }

    /// Starts it again with the same arguments, and this time more of them.
    pub(crate) fn restart_once_with(&mut self, more: &[&str]) {
        let more = more.iter().map(|&word| word.to_owned());
        let arguments: Vec<String> = self.arguments.iter().cloned().chain(more).collect();
        self.child = Self::spawn(&arguments);
    }

    /// What it says on standard error when it must refuse to start again.
    pub(crate) fn refused(&self) -> String {
        refusal(&self.arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Stops or continues the process, or asks it to end: `STOP`, `CONT`, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .expect("kill is part of every POSIX system");
        assert!(status.success());
    }

    /// Stops the process. The signal alone does not: a thread may go on until its core gets to it, so Linux is asked.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_stopped = |task: &Path| {
            let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        if Path::new(&tasks).exists() {
            wait_for("all threads stand still", || {
                let mut all = fs::read_dir(&tasks).ok()?.flatten();
                all.all(|task| is_stopped(&task.path())).then_some(())
            });
        }
    }

    /// Waits until it has no lease any more: then it answers no read without a quorum.
    pub(crate) fn outlive_lease(&self) {
        wait_for("the lease ends", || (self.info("raft_lease")? == "none").then_some(()));
    }

    /// Waits for the process to end; answers its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        wait_for("the process ends", || self.child.try_wait().expect("it is our child")).code()
    }

    /// A client, as soon as the node serves.
    pub(crate) fn client(&self) -> Client {
        wait_for("the node serves", || {
            let mut client = Client::connect(self.port).ok()?;
            let reply = client.call(&["PING"]).ok()?;
            (reply == Reply::status("PONG")).then_some(client)
        })
    }

    /// One field of INFO.
    pub(crate) fn info(&self, field: &str) -> Option<String> {
        let mut client = Client::connect(self.port).ok()?;
        let Reply::Bulk(text) = client.call(&["INFO", "everything"]).ok()? else { return None };
        let text = String::from_utf8(text.into_owned()).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.map(str::to_owned)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small blocking client.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, input: Vec::new() })
    }

    pub(crate) fn send(&mut self, argv: &[&str]) -> io::Result<()> {
        use std::fmt::Write as _;
        let mut request = format!("*{}\r\n", argv.len());
        for word in argv {
            write!(request, "${}\r\n{word}\r\n", word.len()).expect("a string takes everything");
        }
        self.send_raw(request.as_bytes())
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends nothing more, and still listens.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }

    pub(crate) fn receive(&mut self) -> io::Result<Reply<'static>> {
        loop {
            match read_reply(&self.input) {
                Ok(Some((reply, consumed))) => {
                    self.input.drain(..consumed);
                    return Ok(reply);
                }
                Ok(None) => {}
                Err(error) => return Err(io::Error::other(format!("{error:?}"))),
            }
            let mut buffer = [0; 4096];
            let read = match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue, // nothing was read: the process was paused
                read => read?,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input.extend_from_slice(&buffer[..read]);
        }
    }

    /// The next bytes, as they come.
    pub(crate) fn receive_raw(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.input);
        let had = bytes.len().min(length);
        self.input = bytes.split_off(had);
        bytes.resize(length, 0);
        self.stream.read_exact(&mut bytes[had..])?;
        Ok(bytes)
    }

    pub(crate) fn call(&mut self, argv: &[&str]) -> io::Result<Reply<'static>> {
        self.send(argv)?;
        self.receive()
    }

    /// The text of the error that a command must answer.
    pub(crate) fn refused(&mut self, argv: &[&str]) -> String {
        match self.call(argv).expect("the connection holds") {
            Reply::Error(error) => String::from_utf8_lossy(error.text()).into_owned(),
            other => panic!("{argv:?} answered {other:?}"),
        }
    }
}

/// A reply as words, arrays in brackets.
pub(crate) fn words(reply: &Reply<'_>) -> String {
    match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Bulk(text) | Reply::Status(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Int(number) => number.to_string(),
        Reply::Push(items) => {
            format!(">[{}]", items.iter().map(words).collect::<Vec<_>>().join(" "))
        }
        Reply::Error(error) => format!("-{}", String::from_utf8_lossy(error.text())),
        Reply::Array(items) => {
            format!("[{}]", items.iter().map(words).collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}

/// What a client is answered to a line, in words.
pub(crate) fn said(client: &mut Client, line: &str) -> String {
    let argv: Vec<&str> = line.split(' ').collect();
    words(&client.call(&argv).expect("the connection holds"))
}

/// The next thing that comes, in words.
pub(crate) fn heard(client: &mut Client) -> String {
    words(&client.receive().expect("the connection holds"))
}
