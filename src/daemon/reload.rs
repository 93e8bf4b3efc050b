//! What SIGHUP does: read and check the file again, then swap rules and zones in one step, or keep the old ones.

use std::path::Path;

use log::{error, info, warn};

use super::topology::Topology;
use crate::config::{self, Config};

/// Reads the file at `path` and puts its rules, schedules and zones into effect. What cannot be changed while
/// running is named. A file that does not check, or that needs a camera or door which is not running, changes
/// nothing.
pub(super) fn reload(topology: &mut Topology, path: &Path) {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => {
            error!("reload refused, the old rules stay:\n{}", problems.render(false));
            return;
        }
    };
    let fixed = changed_parts(&topology.config, &loaded.config);
    if let Some(part) = fixed.iter().find(|part| ["camera", "door", "model", "detector"].contains(part)) {
        error!("reload refused, the old rules stay: a changed [{part}] section needs a restart");
        return;
    }
    for part in fixed {
        warn!("[{part}] has changed: it takes effect after a restart");
    }
    let rules = loaded.config.rules.rules.len();
    if topology.swap(loaded.config) {
        info!("reloaded {}: {rules} rules in force", path.display());
    } else {
        warn!(
            "read {}: the rules are too far behind to be told, the old ones are in force until they have caught up",
            path.display()
        );
    }
}

/// The sections that differ and cannot be swapped while running.
fn changed_parts(running: &Config, new: &Config) -> Vec<&'static str> {
    let cameras = |config: &Config| config.cameras.iter().map(|c| c.capture.clone()).collect::<Vec<_>>();
    let mut parts = Vec::new();
    if cameras(running) != cameras(new) {
        parts.push("camera");
    }
    if running.doors != new.doors {
        parts.push("door");
    }
    if running.model != new.model {
        parts.push("model");
    }
    if running.detector != new.detector {
        parts.push("detector");
    }
    let kept = |config: &Config| (config.store.clone(), config.clips.clone(), config.write_budget);
    if kept(running) != kept(new) {
        parts.push("store");
    }
    if running.notify != new.notify {
        parts.push("mqtt");
    }
    parts
}
