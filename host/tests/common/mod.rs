//! A real daemon on free ports in a temporary directory, and clients that speak to it.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "shared between test binaries")]

pub mod hosts;
pub mod load;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything; reached only when something is broken.
pub const DEADLINE: Duration = Duration::from_mins(2);

/// Longest wait for a daemon's start: it compiles its plugins at low priority, beside other daemons under load.
const START_DEADLINE: Duration = Duration::from_mins(3);

/// A running daemon. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    pub rest: String,
    pub grpc: String,
    pub metrics: String,
}

/// How a daemon is started.
#[derive(Debug)]
pub struct Start {
    program: PathBuf,
    data: PathBuf,
    node: String,
    extra: Vec<String>,
    /// Beside what the test itself was given, of which nothing reaches the daemon.
    variables: Vec<(&'static str, String)>,
    log: Option<PathBuf>,
    /// REST, gRPC, metrics; 0 is any that is free.
    ports: [u16; 3],
}

impl Start {
    pub fn on(data: &Path) -> Self {
        Self {
            program: env!("CARGO_BIN_EXE_nexus").into(),
            data: data.to_owned(),
            node: "core-1".to_owned(),
            extra: Vec::new(),
            variables: Vec::new(),
            log: None,
            ports: [0; 3],
        }
    }

    /// The build that stands for the next release.
    pub fn of_next_release(mut self) -> Self {
        self.program.set_file_name("nexus-next");
        assert!(self.program.exists(), "{} is missing: run cargo xtask test", self.program.display());
        self
    }

    /// With a variable in its environment.
    pub fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// Under another name than `core-1`.
    pub fn named(mut self, node: &str) -> Self {
        node.clone_into(&mut self.node);
        self
    }

    /// On these ports, where they are known to be free.
    pub fn ports(mut self, rest: u16, grpc: u16, metrics: u16) -> Self {
        self.ports = [rest, grpc, metrics];
        self
    }

    pub fn with(mut self, flags: &[&str]) -> Self {
        self.extra.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Where what it logs goes, instead of to the test's own standard error.
    pub fn log(mut self, file: &Path) -> Self {
        self.log = Some(file.to_owned());
        self
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--data-path").arg(&self.data);
        let [rest, grpc, metrics] = self.ports.map(|port| port.to_string());
        command.args(["--http-port", &rest, "--grpc-port", &grpc, "--metrics-port", &metrics, "--node-id", &self.node]);
        command.args(&self.extra);
        forget_settings(&mut command);
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command
    }

    pub fn run(&self) -> Daemon {
        let mut command = self.command();
        if let Some(log) = &self.log {
            command.stderr(std::fs::File::create(log).expect("a file for the log"));
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the daemon starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (tell, told) = mpsc::sync_channel(64);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Nobody listens any more once the ready line was read.
                let _unheard = tell.try_send(line);
            }
        });
        let line = loop {
            match told.recv_timeout(START_DEADLINE) {
                Ok(line) if line.starts_with("nexus ready") => break line,
                Ok(_) => {}
                Err(late) => {
                    // It may run on, and be waited for in vain.
                    let _ended = child.kill();
                    panic!("the daemon did not get ready ({late}): {:?}", child.wait());
                }
            }
        };
        let field = |name: &str| {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            word.unwrap_or_else(|| panic!("no {name} in {line:?}")).to_owned()
        };
        Daemon { rest: field("rest"), grpc: field("grpc"), metrics: field("metrics"), child }
    }
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing of the daemon's own runs afterwards.
    pub fn kill(mut self) {
        self.child.kill().expect("the daemon runs");
        self.child.wait().expect("the daemon ends");
    }

    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// SIGSTOP: it is there and does nothing, until [`Self::go_on`].
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("the daemon runs");
    }

    /// SIGTERM, and how it ended.
    pub fn stop(mut self) -> ExitStatus {
        self.terminate();
        wait_for("the daemon ends", || self.child.try_wait().expect("the daemon's state is known"))
    }

    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        call(&format!("{}{path}", self.rest), method, &[], body.map(ToString::to_string))
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call("POST", path, Some(body))
    }

    pub fn metric(&self, line: &str) -> Option<f64> {
        let text = call(&format!("{}/metrics", self.metrics), "GET", &[], None).1;
        let text = text.as_str().expect("metrics are text").to_owned();
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A small file system of its own, unmounted when dropped.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    pub fn mount(at: &Path, size: &str) -> Self {
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "this test needs the right to mount a tmpfs (run it as root)"
        );
        Self(at.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a daemon that is just being killed may hold it open.
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// One request; the body as JSON, or as text where it is none.
pub fn call(url: &str, method: &str, headers: &[(&str, &str)], body: Option<String>) -> (u16, Value) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE)).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.unwrap_or_default()).expect("a well-formed request");
    let mut response = agent.run(request).unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    let status = response.status().as_u16();
    let text = response.body_mut().with_config().limit(64 << 20).read_to_string().expect("text");
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, value)
}

/// The machine that runs the tests may hold settings of its own.
fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NEXUS_")) {
        command.env_remove(name);
    }
}

/// Runs the operator's command with `input`; gives how it ended.
pub fn nexus(line: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexus"));
    forget_settings(&mut command);
    let streams = command.args(line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.spawn().expect("it starts");
    child.stdin.take().expect("piped").write_all(input).expect("it reads or nothing is sent");
    child.wait_with_output().expect("it ends")
}

/// Waits for a state, not for a time.
pub fn wait_for<T>(what: &str, mut state: impl FnMut() -> Option<T>) -> T {
    wait_for_or_tell(what, || state().ok_or_else(String::new))
}

/// The same, and what was wrong when it was looked at last.
pub fn wait_for_or_tell<T>(what: &str, mut state: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        match state() {
            Ok(found) => return found,
            Err(wrong) => assert!(Instant::now() < end, "waited in vain: {what}; {wrong}"),
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

pub fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}
