//! Doors that a program opens: real processes.

use std::path::Path;
use std::time::Duration;

use portero::clock::{Clock, SystemClock};
use portero::domain::{DoorId, EventId, Outcome};
use portero::doors::{Kind, Mode};

use super::{Link, PATIENCE, door, doors, grant};
use crate::support::wait_until;

/// Opens a door by `argv` and waits for the outcome.
fn open_by(argv: &[&str], time_limit: Duration) -> Outcome {
    let argv = argv.iter().map(ToString::to_string).collect();
    let kind = Kind::Command { argv, time_limit };
    let mut doors = doors(vec![door("front", Mode::Active, kind)], &Link::default());
    let clock = SystemClock;
    if let Some(outcome) = doors.act(&grant(7, "front", clock.now()), &clock) {
        return outcome;
    }
    let mut ended = None;
    wait_until("the program's end", PATIENCE, || {
        ended = doors.poll(clock.now()).pop();
        ended.is_some()
    });
    ended.unwrap().1
}

fn sh(script: &str, time_limit: Duration) -> Outcome {
    open_by(&["/bin/sh", "-c", script], time_limit)
}

pub(super) fn is_alive(pid: &str) -> bool {
    // A zombie is as good as gone: whoever should wait for it may not have come by yet.
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

#[test]
fn a_program_is_told_the_grant_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("told");
    let path = file.display();
    let outcome = sh(&format!("cat > {path}.stdin; env > {path}; echo chatter; echo noise >&2"), PATIENCE);
    assert_eq!(outcome, Outcome::Opened);
    let told = std::fs::read_to_string(&file).unwrap();
    let mut names: Vec<&str> = told.lines().filter_map(|line| line.split('=').next()).collect();
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name)); // the shell's own
    names.sort_unstable();
    assert_eq!(names, ["PATH", "PORTERO_DOOR", "PORTERO_EVENT", "PORTERO_RULE"]);
    assert!(told.contains("PORTERO_DOOR=front\n") && told.contains("PORTERO_RULE=staff\n"), "{told}");
    assert!(told.contains("PORTERO_EVENT=00000000-0000-0000-0000-000000000007\n"), "{told}");
    assert_eq!(std::fs::read(format!("{path}.stdin")).unwrap(), b"", "its input is empty");
}

#[test]
fn arguments_are_not_read_by_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("$(touch x); *.txt");
    assert_eq!(open_by(&["touch", &name.to_string_lossy()], PATIENCE), Outcome::Opened);
    assert!(name.exists());
}

#[test]
fn a_failing_program_is_quoted() {
    let outcome = sh("echo first >&2; printf 'relay \\033[31mstuck\\n\\n' >&2; exit 3", PATIENCE);
    assert_eq!(outcome, Outcome::Failed("exit status: 3: relay [31mstuck".to_owned()));
    assert_eq!(sh("exit 1", PATIENCE), Outcome::Failed("exit status: 1".to_owned()));
    let killed = sh("kill -9 $$", PATIENCE);
    assert!(killed.detail().unwrap().contains("signal: 9"), "{killed:?}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let outcome = open_by(&["/nonexistent/opener"], PATIENCE);
    let why = outcome.detail().unwrap();
    assert!(
        outcome.kind() == "failed" && why.starts_with("/nonexistent/opener cannot be started"),
        "{outcome:?}"
    );
    assert_eq!(open_by(&[], PATIENCE).kind(), "failed");
}

#[test]
fn a_program_that_floods_its_output_still_ends() {
    let outcome =
        sh("i=0; while [ $i -lt 20000 ]; do echo line $i >&2; echo line; i=$((i+1)); done; exit 4", PATIENCE);
    assert_eq!(outcome, Outcome::Failed("exit status: 4: line 19999".to_owned()));
}

#[test]
fn a_program_that_hangs_is_ended_with_all_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    // Neither of the two listens to SIGTERM.
    let script = format!(
        "trap '' TERM; (trap '' TERM; sleep 600 & echo $! > {0}.child; wait; sleep 600) & echo $$ > {0}; echo waiting >&2; wait; sleep 600",
        pids.display()
    );
    let outcome = sh(&script, Duration::from_millis(1_500));
    assert_eq!(outcome, Outcome::Failed("it took longer than 1.5s and was ended: waiting".to_owned()));
    for file in [pids, folder.path().join("pids.child")] {
        let pid = std::fs::read_to_string(&file).unwrap();
        wait_until("the end of the whole group", PATIENCE, || !is_alive(&pid));
    }
}

#[test]
fn a_program_that_listens_may_let_go_of_its_relay() {
    let folder = tempfile::tempdir().unwrap();
    let released = folder.path().join("released");
    let script = format!("trap 'touch {}; exit 0' TERM; sleep 600 & wait", released.display());
    let outcome = sh(&script, Duration::from_millis(1_500));
    assert_eq!(outcome.kind(), "failed", "it was too slow all the same: {outcome:?}");
    assert!(released.exists());
}

#[test]
fn what_a_program_leaves_behind_keeps_its_door_busy_and_ends_at_the_time_limit() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    // One stays in the group, the other leaves it.
    let script = format!(
        "sleep 600 & echo $! > {0}; setsid sh -c 'echo $$ > {0}.away; sleep 600' & until [ -s {0}.away ]; do sleep 0.01; done",
        pids.display()
    );
    let argv = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let kind = Kind::Command { argv, time_limit: Duration::from_secs(2) };
    let mut doors = doors(vec![door("front", Mode::Active, kind)], &Link::default());
    let clock = SystemClock;
    assert_eq!(doors.act(&grant(7, "front", clock.now()), &clock), None);
    let mut ended = None;
    wait_until("the program's end", PATIENCE, || {
        ended = doors.poll(clock.now()).pop();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().1, Outcome::Opened, "told when the program itself has ended");
    let left = [pids, folder.path().join("pids.away")].map(|file| std::fs::read_to_string(file).unwrap());
    assert!(left.iter().all(|pid| is_alive(pid)), "a timer for a relay is common");
    let busy = doors.act(&grant(8, "front", clock.now()), &clock).unwrap();
    assert_eq!(busy.detail(), Some("busy: what the last opening left running has not ended yet"));
    wait_until("the end of what is left", PATIENCE, || {
        let _ = doors.poll(clock.now());
        !doors.is_busy()
    });
    assert!(!left.iter().any(|pid| is_alive(pid)), "nothing outlives the time limit");
}

#[test]
fn doors_that_go_away_leave_no_program_behind() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("echo $$ > {}; sleep 600", pid.display());
    let argv = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let kind = Kind::Command { argv, time_limit: PATIENCE };
    let mut doors = doors(vec![door("front", Mode::Active, kind)], &Link::default());
    let clock = SystemClock;
    assert_eq!(doors.act(&grant(1, "front", clock.now()), &clock), None);
    let number = || std::fs::read_to_string(&pid).unwrap_or_default();
    wait_until("the program to start", PATIENCE, || number().ends_with('\n'));
    drop(doors);
    assert!(!is_alive(&number()));
}

#[test]
fn what_a_crash_has_left_may_let_go_of_its_relay_also_when_its_door_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (event, name) in [(21, "front"), (22, "removed")] {
        let (ready, released) = (at("ready"), at("released"));
        let script = format!(
            "trap 'touch {}; exit 0' TERM; touch {}; while :; do sleep 0.01; done",
            released.display(),
            ready.display()
        );
        let mut left = std::process::Command::new("/bin/sh")
            .args(["-c", &script])
            .env("PORTERO_EVENT", EventId::from_u128(event).to_string())
            .spawn()
            .unwrap();
        wait_until("the program to listen", PATIENCE, || ready.exists());
        // The door is opened in another way since.
        let mut doors = doors(vec![door("front", Mode::Active, Kind::Log)], &Link::default());
        doors.resume(&DoorId::new(name).unwrap(), EventId::from_u128(event), SystemClock.now(), &SystemClock);
        left.wait().unwrap();
        assert!(released.exists(), "it was asked before it was killed");
        std::fs::remove_file(ready).unwrap();
        std::fs::remove_file(released).unwrap();
    }
}

#[test]
fn a_program_that_does_not_end_keeps_its_door_busy_and_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("trap '' TERM; echo $$ $PPID > {}; while :; do sleep 0.01; done", pid.display());
    let argv = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let kind = Kind::Command { argv, time_limit: PATIENCE };
    let settings = vec![door("front", Mode::Active, kind), door("other", Mode::Active, Kind::Log)];
    let mut doors = doors(settings, &Link::default());
    let clock = SystemClock;
    assert_eq!(doors.act(&grant(23, "front", clock.now()), &clock), None);
    let numbers = || std::fs::read_to_string(&pid).unwrap_or_default();
    wait_until("the program to start", PATIENCE, || numbers().ends_with('\n'));
    let (program, supervisor) =
        numbers().trim().split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let supervisor = rustix::process::Pid::from_raw(supervisor.parse().unwrap()).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    let mut ended = None;
    wait_until("the outcome", PATIENCE, || {
        ended = doors.poll(clock.now()).pop();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().1.kind(), "failed");
    // Its end is not waited for: it is killed a second later, by a later turn.
    assert!(is_alive(&program) && doors.is_busy());
    let second = doors.act(&grant(24, "front", clock.now()), &clock).unwrap();
    assert!(second.detail().unwrap().starts_with("busy"), "no second one starts beside it: {second:?}");
    assert_eq!(doors.act(&grant(25, "other", clock.now()), &clock), Some(Outcome::Opened));
    wait_until("its end", PATIENCE, || {
        let _ = doors.poll(clock.now());
        !doors.is_busy()
    });
    assert!(!is_alive(&program));
}
