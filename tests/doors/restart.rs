//! A daemon that is killed: its door programs go with it, and its limits stay.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use super::PATIENCE;
use super::programs::is_alive;
use crate::support::daemon::{Site, street};
use crate::support::wait_until;

/// A camera that shows people all the time, and a door that opens once an hour and leaves a timer running.
fn site(folder: &Path) -> Site {
    let opened = folder.join("opened");
    let script = format!(
        "echo $$ >> {0}; (trap '' TERM; setsid sleep 600 & echo $! >> {0}.left; sleep 600 & echo $! >> {0}.left; wait) & sleep 600",
        opened.display()
    );
    Site::new(&format!(
        "[[camera]]\nid = \"street\"\nsource = {{ ffmpeg = {:?} }}\nfps = 5\nsize = [768, 576]\nloop = true\n\
         [[rule]]\nid = \"open\"\ncamera = \"street\"\nlabel = \"person\"\nmin_score = 0.8\ncooldown = \"1h\"\n\
         max_per_hour = 1\nauthorize = \"gate\"\nalert = \"info\"\n\
         [[rule]]\nid = \"again\"\ncamera = \"street\"\nlabel = \"person\"\nmin_score = 0.8\ncooldown = \"1s\"\nauthorize = \"gate\"\n\
         [[door]]\nid = \"gate\"\nkind = \"command\"\nmode = \"active\"\nmin_interval = \"1h\"\nmax_age = \"30s\"\n\
         time_limit = \"60s\"\nargv = [\"/bin/sh\", \"-c\", {script:?}]\n",
        street()
    ))
}

#[test]
fn a_killed_daemon_leaves_no_door_program_and_forgets_no_limit() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path());
    let (opened, left) = (folder.path().join("opened"), folder.path().join("opened.left"));
    let lines = |file: &Path| -> Vec<String> {
        fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
    };
    let daemon = site.start(&[]);
    wait_until("the door is opened", PATIENCE, || lines(&left).len() == 2);
    daemon.signal(Signal::KILL);
    let pids = [lines(&opened), lines(&left)].concat();
    wait_until("the program, its child and its grandchild end", PATIENCE, || {
        !pids.iter().any(|pid| is_alive(pid))
    });
    drop(daemon);

    // Somebody stands there still; nothing may open within the hour.
    let mut daemon = site.start(&[]);
    wait_until("people are seen again", PATIENCE, || {
        let log = daemon.log();
        log.contains("authorise gate by rule again") || log.contains("deny gate")
    });
    assert!(daemon.stop().success(), "{}", daemon.log());
    let events = site.events();
    let grants: Vec<_> = events.iter().filter(|event| event.decision.verdict.kind() == "authorise").collect();
    let by = |rule: &str| {
        grants.iter().filter(|e| e.decision.rule.as_ref().is_some_and(|id| id.as_str() == rule)).count()
    };
    assert!(by("open") <= 1, "{grants:#?}");
    let acted = grants.iter().filter(|event| event.outcome.kind() != "refused").count();
    assert_eq!((acted, lines(&opened).len()), (1, 1), "{grants:#?}");
}
