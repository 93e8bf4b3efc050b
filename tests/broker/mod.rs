//! The publisher against a real broker that misbehaves: frozen, killed, restarted without memory, locked.

mod commands;
mod delivery;
mod homeassistant;
mod line;
mod login;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use portero::clock::{Clock, SystemClock};
use portero::domain::{
    Alert, Answer, CameraId, Decision, Event, EventId, FrameRef, FrameSeq, Label, ModelId, Observation,
    Outcome, RuleId, Score, Severity, Stamp, Verdict,
};
use portero::notify::{Handles, Outbox, OutboxError, Publisher, Settings, Timing};
use portero::shutdown::{StopHandle, stop_pair};

use crate::support::broker::Broker;
use crate::support::wait_until;

/// Long enough for a loaded machine; nothing waits for it in vain when all is well.
const SOON: Duration = Duration::from_secs(60);

/// A deadline for a door command that does not pass.
fn soon() -> Stamp {
    SystemClock.now().plus(SOON)
}

/// Rows in memory, shared with the test.
#[derive(Clone, Default)]
struct Rows {
    waiting: Arc<Mutex<BTreeMap<i64, Alert>>>,
    delivered: Arc<Mutex<Vec<i64>>>,
    /// The next report of deliveries is lost, as when the store is too busy to take it.
    loses_a_report: Arc<AtomicBool>,
}

impl Rows {
    fn add(&self, row: i64, snapshot: Option<Vec<u8>>) {
        self.waiting.lock().unwrap().insert(row, alert(row, snapshot));
    }

    fn waiting(&self) -> usize {
        self.waiting.lock().unwrap().len()
    }

    fn delivered(&self) -> Vec<i64> {
        self.delivered.lock().unwrap().clone()
    }
}

impl Outbox for Rows {
    fn pending(&mut self, after_row: i64, limit: usize) -> Result<Vec<Alert>, OutboxError> {
        Ok(self.waiting.lock().unwrap().range(after_row + 1..).take(limit).map(|(_, a)| a.clone()).collect())
    }

    fn delivered(&mut self, rows: &[i64]) {
        if self.loses_a_report.swap(false, Ordering::SeqCst) {
            return;
        }
        for row in rows {
            assert!(self.waiting.lock().unwrap().remove(row).is_some(), "row {row} was delivered before");
        }
        self.delivered.lock().unwrap().extend(rows);
    }
}

/// A publisher on its own thread. Dropping it stops it.
struct Running {
    rows: Rows,
    handles: Handles,
    stop: Option<StopHandle>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(settings: Settings) -> Self {
        Self::start_with(settings, quick(), Rows::default())
    }

    fn start_with(settings: Settings, timing: Timing, rows: Rows) -> Self {
        let cameras = vec![camera()];
        let clock = Arc::new(SystemClock);
        let (publisher, handles) = Publisher::new(settings, timing, cameras, Box::new(rows.clone()), clock);
        let (handle, stop) = stop_pair();
        let builder = std::thread::Builder::new().name("publisher".into());
        let thread = builder.spawn(move || publisher.run(&stop).unwrap()).unwrap();
        Self { rows, handles, stop: Some(handle), thread: Some(thread) }
    }

    fn add(&self, row: i64) {
        self.rows.add(row, None);
        self.handles.wake.ring();
    }

    fn wait_until_live(&self) {
        wait_until("the publisher is connected", SOON, || self.handles.counters.is_live());
    }

    fn wait_until_empty(&self) {
        wait_until("the outbox is empty", SOON, || self.rows.waiting() == 0);
    }

    /// Requests the stop and waits for the thread, `limit` at most.
    fn stop(&mut self, limit: Duration) {
        self.stop = None;
        let thread = self.thread.take().unwrap();
        wait_until("the publisher stops", limit, || thread.is_finished());
        thread.join().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Impatient, so that tests need not wait.
fn quick() -> Timing {
    Timing {
        keep_alive: Duration::from_secs(1),
        answer: Duration::from_millis(1_000),
        connect: Duration::from_millis(1_000),
        retry_first: Duration::from_millis(50),
        retry_max: Duration::from_millis(400),
        ..Timing::default()
    }
}

fn settings(broker: &Broker) -> Settings {
    settings_on(broker.port())
}

fn settings_on(port: u16) -> Settings {
    Settings {
        host: "127.0.0.1".into(),
        port,
        tls: None,
        login: None,
        prefix: "portero".into(),
        discovery_prefix: Some("homeassistant".into()),
        client_id: "portero-test".into(),
        site: "Test".into(),
        tamper: vec![],
    }
}

fn camera() -> CameraId {
    CameraId::new("front").unwrap()
}

fn event_id(row: i64) -> EventId {
    EventId::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + u128::from(row.unsigned_abs()))
}

fn alert(row: i64, snapshot: Option<Vec<u8>>) -> Alert {
    let person = Label::new("person").unwrap();
    let score = Score::new(0.97).unwrap();
    let stamp = Stamp::new(1_000, 1_772_366_400_250_000);
    let observation = Observation {
        camera: camera(),
        zone: None,
        answer: Answer::Label(person.clone()),
        agreed: 4,
        of: 6,
        mean: score,
        first: stamp,
        last: stamp,
        track: None,
    };
    let decision = Decision {
        rule: Some(RuleId::new("stranger").unwrap()),
        verdict: Verdict::Alert { severity: Severity::Critical, snapshot: snapshot.is_some() },
        observation,
        frame: FrameRef::new(FrameSeq(7), stamp),
        model: ModelId::new("person").unwrap(),
        top: vec![(person, score)],
        reason: "person 4 of 6, mean 0.97 ≥ 0.80".into(),
        at: stamp,
    };
    let (model_sha256, config_sha256) = (Arc::from("ab".repeat(32)), Arc::from("cd".repeat(32)));
    let event = Event { id: event_id(row), decision, model_sha256, config_sha256, outcome: Outcome::Pending };
    Alert { row, event, snapshot }
}

/// The rows whose alerts stand in these payloads, in order, repeats included.
fn rows_of(payloads: &[String]) -> Vec<i64> {
    let row = |payload: &String| {
        let json: serde_json::Value = serde_json::from_str(payload).unwrap();
        let id = EventId::parse(json["event_id"].as_str().unwrap()).unwrap();
        i64::try_from(id.as_u128() - event_id(0).as_u128()).unwrap()
    };
    payloads.iter().map(row).collect()
}

/// The order of first arrival.
fn first_arrivals(rows: &[i64]) -> Vec<i64> {
    let mut seen = HashSet::new();
    rows.iter().copied().filter(|row| seen.insert(*row)).collect()
}
