//! Stopping and reloading under load.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::daemon::{Daemon, Site, street};
use crate::support::wait_until;

const PATIENCE: Duration = Duration::from_secs(60);

/// Two cameras that play the clip for ever, as fast as it is decided, and rules that keep deciding: on the path
/// people come and go.
fn busy_site() -> Site {
    let video = street();
    let camera = |id: &str| {
        format!(
            "[[camera]]\nid = \"{id}\"\nsource = {{ ffmpeg = {video:?} }}\nfps = 10\nsize = [768, 576]\nloop = true\npace = \"fast\"\n[[camera.zone]]\nid = \"path\"\nbox = [0.16, 0.26, 0.42, 0.41]\n"
        )
    };
    let rules: String = (0..40)
        .map(|n| {
            format!("[[rule]]\nid = \"r{n}\"\ncameras = [\"one\", \"two\"]\nzone = \"path\"\nlabel = \"person\"\nagree = \"1 of 2\"\ncooldown = \"1s\"\nlog = true\n")
        })
        .collect();
    Site::new(&format!("[presence]\ngap = \"300ms\"\n{}{}{rules}", camera("one"), camera("two")))
}

fn started(site: &Site) -> Daemon {
    let daemon = site.start(&[]);
    daemon.wait_for_log(" by rule r", PATIENCE);
    daemon
}

#[test]
fn sigterm_under_load_ends_in_time_and_loses_nothing() {
    let site = busy_site();
    let mut daemon = started(&site);
    daemon.signal(Signal::TERM);
    let status = daemon.wait(Duration::from_secs(12));
    let log = daemon.log();
    assert!(status.success(), "{status}\n{log}");
    let decided = log.lines().filter(|line| line.contains(" by rule r")).count();
    assert_eq!(site.events().len(), decided, "every decision that was taken is recorded");
    assert!(log.contains(" 0 lost"), "{log}");
    site.assert_intact();
}

#[test]
fn a_second_signal_ends_at_once_with_130() {
    let site = busy_site();
    let mut daemon = started(&site);
    // Both before the supervisor can have finished: it looks at the first one within 100 ms.
    daemon.signal(Signal::TERM);
    daemon.signal(Signal::INT);
    let status = daemon.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(130), "{}", daemon.log());
    site.assert_intact();
}

#[test]
fn sighup_swaps_good_rules_and_keeps_the_old_ones_on_bad() {
    let site = busy_site();
    let mut daemon = started(&site);
    let good = std::fs::read_to_string(site.config()).unwrap();

    std::fs::write(site.config(), good.replace("label = \"person\"", "lable = \"person\"")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("reload refused, the old rules stay", PATIENCE);
    assert!(daemon.log().contains("did you mean"), "{}", daemon.log());
    let before = site.events().len();
    wait_until("the old rules go on", PATIENCE, || site.events().len() > before);

    std::fs::write(site.config(), good.replace("id = \"r0\"", "id = \"fresh\"")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("40 rules in force", PATIENCE);
    daemon.wait_for_log(" by rule fresh", PATIENCE);

    std::fs::write(site.config(), good.replace("fps = 10", "fps = 5")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("a changed [camera] section needs a restart", PATIENCE);
    assert!(daemon.stop().success(), "{}", daemon.log());
}
