//! The body of a camera thread: frames through the watch room into the slots.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender};
use log::{info, warn};

use super::copies::Copies;
use super::judge::ToRules;
use super::load::Load;
use super::rate::Rate;
use crate::capture::{Camera, Copying, Pace};
use crate::clock::Clock;
use crate::domain::{CameraId, CameraState, Frame, Look, Sighting, Stamp, Tamper, Things};
use crate::evidence::{Feed, Keep};
use crate::shutdown::Stop;
use crate::slots::Slots;
use crate::watch::{self, Mask, Watcher};

/// How often a wait is interrupted to ask whether to stop.
const TURN: Duration = Duration::from_millis(200);

/// What the supervisor shares with a camera thread.
pub(super) struct Desk {
    pub(super) camera: CameraId,
    pub(super) index: usize,
    pub(super) pace: Pace,
    /// What is looked at; replaced on reload.
    pub(super) watch: Mutex<watch::Settings>,
    /// Grows with every replacement.
    pub(super) edition: AtomicU64,
    /// Grows with every replacement that changes the masks.
    masks: AtomicU64,
    /// Frames in which the motion gate saw nothing.
    pub(super) gated: AtomicU64,
    state: AtomicU8,
    /// Pictures a second that its rules need, as the bits of an `f32`; 0 is any number.
    needed: AtomicU32,
    /// Whether its frames are kept for clips.
    kept: AtomicBool,
    /// Its own stream, which is kept in place of them where it may be and comes.
    pub(super) copying: Arc<Copying>,
}

const STATES: [CameraState; 6] = [
    CameraState::Starting,
    CameraState::Online,
    CameraState::Degraded,
    CameraState::Stalled,
    CameraState::Offline,
    CameraState::Ended,
];

impl Desk {
    pub(super) fn new(
        camera: CameraId,
        index: usize,
        pace: Pace,
        watch: watch::Settings,
        copying: Arc<Copying>,
    ) -> Self {
        Self {
            camera,
            index,
            pace,
            watch: Mutex::new(watch),
            edition: AtomicU64::new(0),
            masks: AtomicU64::new(0),
            gated: AtomicU64::new(0),
            state: AtomicU8::new(0),
            needed: AtomicU32::new(0),
            kept: AtomicBool::new(false),
            copying,
        }
    }

    /// The camera's state as last reported.
    pub(super) fn state(&self) -> CameraState {
        STATES[usize::from(self.state.load(Ordering::Relaxed)) % STATES.len()]
    }

    fn set_state(&self, state: CameraState) {
        let index = STATES.iter().position(|s| *s == state).unwrap_or(0);
        self.state.store(index as u8, Ordering::Relaxed);
    }

    /// From now on its rules need so many pictures a second.
    pub(super) fn need(&self, rate: f32) {
        self.needed.store(rate.to_bits(), Ordering::Relaxed);
    }

    fn needed(&self) -> f32 {
        f32::from_bits(self.needed.load(Ordering::Relaxed))
    }

    /// What is kept for clips from now on.
    pub(super) fn keep_for_clips(&self, keep: Option<&Keep>) {
        self.kept.store(keep.is_some(), Ordering::Relaxed);
        self.copying.want(keep.is_some_and(|keep| keep.copied));
    }

    /// New regions, masks and motion settings, taken up with the next frame. Returns the edition of the masks, which grows
    /// when they differ. What does not differ is left alone.
    pub(super) fn replace_watch(&self, settings: watch::Settings) -> u64 {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if *watch == settings {
            return self.masks.load(Ordering::Acquire);
        }
        let differ = u64::from(watch.masks != settings.masks);
        let masks = self.masks.fetch_add(differ, Ordering::Release) + differ;
        *watch = settings;
        self.edition.fetch_add(1, Ordering::Release);
        masks
    }

    /// The settings of now, with their edition and that of the masks.
    fn settings(&self) -> ([u64; 2], watch::Settings) {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let editions = [&self.edition, &self.masks].map(|edition| edition.load(Ordering::Acquire));
        (editions, watch.clone())
    }
}

/// Where a camera's thread hands things over.
pub(super) struct Ways {
    pub(super) rules: Sender<ToRules>,
    pub(super) feed: Feed,
}

/// Runs until `stop`, or until a file or folder has come to its end.
pub(super) fn run(
    camera: Camera,
    desk: &Arc<Desk>,
    slots: &Slots,
    Ways { rules, feed }: &Ways,
    clock: &dyn Clock,
    stop: &Stop,
) {
    let ([mut edition, mut masks], settings) = desk.settings();
    let (mut mask, mut watcher) = (Mask::new(settings.masks.clone()), Watcher::new(settings));
    let (mut tampered, mut replayed) = (None, false);
    let (slowdown, mut load) = (camera.slowdown(), Load::new(clock.now()));
    let health = RefCell::new(Health {
        desk,
        rules,
        stop,
        source: (CameraState::Starting, String::new()),
        rate: Rate::new(clock.now()),
        strain: None,
    });
    let mut copies = Copies::new(desk, feed);
    let camera = camera.copy_to(copies.sink(stop));
    let mut sink = |mut frame: Frame| {
        if desk.edition.load(Ordering::Acquire) != edition {
            let settings;
            ([edition, masks], settings) = desk.settings();
            mask = Mask::new(settings.masks.clone());
            // It keeps what it knows: a reload does not uncover a lens.
            watcher.reconfigure(settings);
        }
        health.borrow_mut().gave(clock.now());
        // Before anything else: nobody sees what is masked.
        mask.black_out(&mut frame);
        let frame = Arc::new(frame);
        if desk.kept.load(Ordering::Relaxed) && !copies.suffice() {
            match desk.pace {
                Pace::Realtime => feed.offer(Arc::clone(&frame), masks),
                Pace::Fast => feed.hand(Arc::clone(&frame), masks, stop),
            }
        }
        let look = watcher.look(Arc::clone(&frame));
        if watcher.tamper() != tampered {
            tampered = watcher.tamper();
            warn_of(&desk.camera, tampered);
            tell(rules, ToRules::Tamper(tampered, frame), stop);
        }
        if watcher.is_replayed() != replayed {
            replayed = !replayed;
            warn_of_replay(&desk.camera, replayed);
        }
        let Some(look) = look else {
            desk.gated.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if is_still(&look) {
            desk.gated.fetch_add(1, Ordering::Relaxed);
        }
        if desk.pace == Pace::Fast {
            // Played as fast as it is decided: wait for our turn, so that nothing is evicted.
            while !slots.wait_free(desk.index, TURN) && !stop.is_requested() {}
        }
        let in_vain = slots.put(desk.index, look);
        if let Some(factor) = load.looked(in_vain, clock.now()) {
            slowdown.set(factor);
            health.borrow_mut().strained(factor);
        }
    };
    camera.run(stop, &mut sink, &mut |state, why| health.borrow_mut().became(state, why, clock.now()));
    feed.ended(&desk.camera);
}

/// Whether nothing in a look costs any work: it only tells the rules that nothing moves.
fn is_still(look: &Look) -> bool {
    let still = |sighting: &Sighting| match &sighting.things {
        Things::Unsaid => true,
        Things::Moving { rects, .. } => rects.is_empty(),
        Things::Detect => false,
    };
    look.regions.is_empty() && look.sighting.as_ref().is_none_or(still)
}

/// A camera's state, made of what its source says and of the strain on the workers.
struct Health<'a> {
    desk: &'a Desk,
    rules: &'a Sender<ToRules>,
    stop: &'a Stop,
    /// What the source says, and why.
    source: (CameraState, String),
    /// How many pictures it gives.
    rate: Rate,
    /// Why it gives less than it could.
    strain: Option<String>,
}

impl Health<'_> {
    fn became(&mut self, state: CameraState, why: &str, now: Stamp) {
        if !state.delivers() {
            self.rate.restart(now);
        }
        self.source = (state, why.to_owned());
        self.tell();
    }

    /// One more picture has come.
    fn gave(&mut self, now: Stamp) {
        if self.desk.pace == Pace::Realtime && self.rate.gave(self.desk.needed(), now) {
            self.tell();
        }
    }

    fn strained(&mut self, factor: f32) {
        let share = 100.0 / factor;
        self.strain = (factor > 1.0).then(|| {
            format!("the workers fall behind: it gives {share:.0} % of the pictures it is asked for")
        });
        self.tell();
    }

    fn tell(&self) {
        let trouble = self.strain.clone().or_else(|| self.rate.complaint(self.desk.needed()));
        let (state, why) = match (&self.source, trouble) {
            ((CameraState::Online, _), Some(trouble)) => (CameraState::Degraded, trouble),
            ((state, why), _) => (*state, why.clone()),
        };
        self.desk.set_state(state);
        tell(self.rules, ToRules::Health(self.desk.camera.clone(), state, why), self.stop);
    }
}

fn warn_of(camera: &CameraId, tamper: Option<Tamper>) {
    match tamper {
        Some(tamper) => warn!("camera {camera} was tampered with: it is {}", tamper.as_str()),
        None => info!("camera {camera}: its picture is as it should be again"),
    }
}

fn warn_of_replay(camera: &CameraId, replayed: bool) {
    if replayed {
        warn!(
            "camera {camera} shows what it has shown before, as if a recording were played: it opens no door"
        );
    } else {
        info!("camera {camera}: its pictures are new ones again");
    }
}

/// Hands `message` to the rules, waiting while they are behind, but not beyond a request to stop.
fn tell(rules: &Sender<ToRules>, message: ToRules, stop: &Stop) {
    let mut message = message;
    while let Err(SendTimeoutError::Timeout(back)) = rules.send_timeout(message, TURN) {
        if stop.is_requested() {
            return;
        }
        message = back;
    }
}
