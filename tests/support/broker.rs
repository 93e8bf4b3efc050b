//! A puppet: a real mosquitto on a free port that can be frozen, killed and restarted, without persistence; and
//! `mosquitto_sub` as an independent witness.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wait_until;

const HINT: &str =
    "mosquitto and its clients are needed by the tests: apt-get install mosquitto mosquitto-clients";
const START: Duration = Duration::from_secs(60);

/// A mosquitto of our own. Killed when dropped.
pub(crate) struct Broker {
    port: u16,
    folder: TempDir,
    child: Option<Child>,
    /// What witnesses need to log in or to trust.
    client_args: Vec<String>,
}

impl Broker {
    /// Anonymous, plain.
    pub(crate) fn start() -> Self {
        Self::start_with("allow_anonymous true\n", &[])
    }

    /// With one user; anonymous clients are refused.
    pub(crate) fn start_with_login(user: &str, password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwords");
        run(Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&file).args([user, password]));
        let settings = format!("allow_anonymous false\npassword_file {}\n", file.display());
        Self::start_in(folder, &settings, &["-u", user, "-P", password])
    }

    /// Anonymous, TLS only, with this certificate and key.
    pub(crate) fn start_with_tls(ca: &Path, certificate: &Path, key: &Path) -> Self {
        let (certfile, keyfile) = (certificate.display(), key.display());
        let settings = format!("allow_anonymous true\ncertfile {certfile}\nkeyfile {keyfile}\n");
        Self::start_with(&settings, &["--cafile", ca.to_str().unwrap()])
    }

    /// With further lines for its configuration, and what a client must be told to get in.
    pub(crate) fn start_with(settings: &str, client_args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings, client_args)
    }

    fn start_in(folder: TempDir, settings: &str, client_args: &[&str]) -> Self {
        let port = free_port();
        // Passed on at once, before the publisher's PubAck: with a window for each witness, a broker that is killed takes along
        // what it has acknowledged and no witness has seen, and nobody could tell that from a loss.
        let listener = format!(
            "listener {port} 127.0.0.1\n{settings}persistence false\nmax_inflight_messages 0\nuser root\n"
        );
        fs::write(folder.path().join("mosquitto.conf"), listener).unwrap();
        let client_args = client_args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut broker = Self { port, folder, child: None, client_args };
        broker.launch();
        broker
    }

    fn launch(&mut self) {
        let log = fs::File::create(self.log_path()).unwrap();
        let mut command = Command::new(program("mosquitto"));
        command.arg("-c").arg(self.folder.path().join("mosquitto.conf")).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{error}. {HINT}")));
        let port = self.port;
        wait_until("mosquitto listens", START, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// As the configuration spells it.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// What mosquitto wrote since it was started last.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("mosquitto.log")
    }

    /// Stops it in its tracks: connections stand, nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// `kill -9`: connections break, sessions and retained messages are lost.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// A new process on the same port, killed before if it still ran.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the broker runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// A witness of everything published on `topic` (wildcards allowed) from now on, retained messages first.
    /// It must be asked again after the broker was killed.
    pub(crate) fn subscribe(&self, topic: &str) -> Subscriber {
        self.witness(topic, "1")
    }

    /// A witness that never answers, for a broker that is to be killed: it reads to the end what the broker wrote before it died,
    /// where one that acknowledges throws away what it has not read yet as soon as an acknowledgement cannot be sent.
    pub(crate) fn overhear(&self, topic: &str) -> Subscriber {
        self.witness(topic, "0")
    }

    fn witness(&self, topic: &str, qos: &str) -> Subscriber {
        // Debug output says when the subscription stands; without `stdbuf` it would stay in a buffer.
        let mut command = Command::new("stdbuf");
        command.arg("-oL").arg(program("mosquitto_sub"));
        // Retain flag, QoS, topic, then the payload as text.
        command.args(["-h", "127.0.0.1", "-q", qos, "-t", topic, "-F", "%r %q %t %p", "-d"]);
        command.arg("-p").arg(self.port.to_string()).args(&self.client_args);
        Subscriber::spawn(command)
    }

    /// Publishes one message by `mosquitto_pub`.
    pub(crate) fn publish(&self, topic: &str, payload: &str) {
        let mut command = Command::new(program("mosquitto_pub"));
        command.args(["-h", "127.0.0.1", "-q", "1", "-t", topic, "-m", payload]);
        run(command.arg("-p").arg(self.port.to_string()).args(&self.client_args));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One message that a witness saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// It was stored at the broker, not just published.
    pub(crate) retained: bool,
    /// Quality of service, 0 to 2.
    pub(crate) qos: u8,
    /// Its topic.
    pub(crate) topic: String,
    /// Its payload; bytes that are no UTF-8 are replaced.
    pub(crate) payload: String,
}

/// A `mosquitto_sub` and what it has seen. Killed when dropped.
pub(crate) struct Subscriber {
    child: Child,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Subscriber {
    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{error}. {HINT}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let subscribed = Arc::new(Mutex::new(false));
        let (pen, flag) = (Arc::clone(&seen), Arc::clone(&subscribed));
        let read = move || {
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                line.clear();
                if text.starts_with("Subscribed ") {
                    *flag.lock().unwrap() = true;
                } else if let Some(message) = parse(&text) {
                    pen.lock().unwrap().push(message);
                }
            }
        };
        std::thread::Builder::new().name("witness".into()).spawn(read).unwrap();
        wait_until("mosquitto_sub has subscribed", START, || *subscribed.lock().unwrap());
        Self { child, seen }
    }

    /// Everything seen so far, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The payloads seen on `topic`, in order.
    pub(crate) fn on(&self, topic: &str) -> Vec<String> {
        self.seen().into_iter().filter(|m| m.topic == topic).map(|m| m.payload).collect()
    }

    /// Waits for `n` messages and returns what was seen; panics when they do not come in time.
    #[track_caller]
    pub(crate) fn wait_for(&self, n: usize, deadline: Duration) -> Vec<Seen> {
        wait_until(&format!("{n} messages arrive"), deadline, || self.seen.lock().unwrap().len() >= n);
        self.seen()
    }

    /// Waits until the last payload on `topic` is `payload`.
    #[track_caller]
    pub(crate) fn wait_for_last(&self, topic: &str, payload: &str, deadline: Duration) {
        let what = format!("{topic} says {payload}");
        wait_until(&what, deadline, || self.on(topic).last().is_some_and(|last| last == payload));
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debug chatter of `mosquitto_sub -d` is no message.
fn parse(line: &str) -> Option<Seen> {
    let mut words = line.splitn(4, ' ');
    let retained = match words.next()? {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    let qos = words.next()?.parse().ok().filter(|qos| *qos <= 2)?;
    Some(Seen { retained, qos, topic: words.next()?.into(), payload: words.next()?.into() })
}

/// Debian puts the broker into `/usr/sbin`, which is not on everybody's path.
fn program(name: &str) -> PathBuf {
    let aside = Path::new("/usr/sbin").join(name);
    if aside.exists() { aside } else { name.into() }
}

fn run(command: &mut Command) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{error}. {HINT}"));
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success(), "{command:?}: {said}");
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
