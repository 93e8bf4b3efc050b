//! Passwords, certificates, closed ports: what is said when the door to the broker is shut.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portero::notify::{Login, NotifyError, Secret, Settings, Tls, probe};

use super::{Running, SOON, settings, soon};
use crate::support::authority::Authority;
use crate::support::broker::{Broker, free_port};
use crate::support::wait_until;

const LIMIT: Duration = Duration::from_secs(30);

fn login(user: &str, password: &str) -> Option<Login> {
    Some(Login { user: user.into(), password: Secret::new(password.into()) })
}

#[test]
fn the_right_password_opens_and_a_wrong_one_is_named() {
    let broker = Broker::start_with_login("portero", "s3cret");
    let with = |login| Settings { login, ..settings(&broker) };
    probe(&with(login("portero", "s3cret")), LIMIT).unwrap();
    Running::start(with(login("portero", "s3cret"))).wait_until_live();

    let error = probe(&with(login("portero", "wrong")), LIMIT).unwrap_err();
    assert!(matches!(error, NotifyError::LoginRefused { .. }), "{error:?}");
    let told = error.to_string();
    assert!(
        told.contains(&broker.url()) && told.contains("\"portero\"") && !told.contains("wrong"),
        "{told}"
    );

    let error = probe(&with(None), LIMIT).unwrap_err();
    assert!(error.to_string().contains("without user name"), "{error}");
}

/// The lines between `… tee FILE …` and `END` in the documentation.
fn documented(file: &str) -> &'static str {
    let page = include_str!("../../docs/mqtt.md");
    let rest = page.split_once(&format!("sudo tee {file} >/dev/null <<END\n")).expect("the file is shown").1;
    rest.split_once("END").unwrap().0
}

#[test]
fn the_documented_acl_lets_through_what_the_daemon_says_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let acl = folder.path().join("acl");
    // The witness logs in as `hass`, the publisher as `portero`, without passwords here.
    std::fs::write(&acl, documented("/etc/mosquitto/acl")).unwrap();
    let broker =
        Broker::start_with(&format!("allow_anonymous true\nacl_file {}\n", acl.display()), &["-u", "hass"]);
    let witness = broker.subscribe("#");
    let publisher = Running::start(Settings { login: login("portero", ""), ..settings(&broker) });
    publisher.wait_until_live();
    publisher.rows.add(1, Some(b"jpeg".to_vec()));
    publisher.handles.wake.ring();
    publisher.wait_until_empty();
    publisher.handles.link.send("portero/door/main/command", b"{}".to_vec(), soon()).unwrap();
    broker.publish("portero/door/main/command", "forged");
    broker.publish("homeassistant/status", "online");
    wait_until("it is announced again", SOON, || witness.on("portero/available").len() == 2);
    for topic in ["front/snapshot", "front/alert", "event", "front/status", "front/person"] {
        assert!(!witness.on(&format!("portero/{topic}")).is_empty(), "{topic} came through");
    }
    assert!(!witness.on("homeassistant/device/portero-test/config").is_empty());
    assert_eq!(witness.on("portero/door/main/command"), ["{}"], "only the daemon commands doors");
}

#[test]
fn a_check_does_not_push_the_running_daemon_off_the_broker() {
    let broker = Broker::start();
    let publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    probe(&settings(&broker), LIMIT).unwrap();
    publisher.add(1);
    publisher.wait_until_empty();
    assert_eq!(publisher.handles.counters.read().failures, 0);
}

#[test]
fn a_closed_port_an_unknown_host_and_silence_are_told_apart() {
    let mut broker = Broker::start();
    broker.freeze();
    let silent = probe(&settings(&broker), Duration::from_millis(300)).unwrap_err();
    assert!(matches!(silent, NotifyError::NoAnswer { .. }), "{silent:?}");
    broker.kill();
    let closed = probe(&settings(&broker), LIMIT).unwrap_err();
    assert!(matches!(closed, NotifyError::PortClosed { .. }), "{closed:?}");
    assert!(closed.to_string().contains(&broker.url()), "{closed}");
    let nowhere = Settings { host: "no-such-host.invalid".into(), ..settings(&broker) };
    let unknown = probe(&nowhere, LIMIT).unwrap_err();
    assert!(matches!(unknown, NotifyError::UnknownHost { .. }), "{unknown:?}");
}

#[test]
fn tls_trusts_the_given_authority_and_no_other() {
    let keys = Authority::new("localhost");
    let other = Authority::new("localhost");
    let broker = Broker::start_with_tls(&keys.ca(), &keys.file("server.crt"), &keys.file("server.key"));
    let with = |host: &str, ca_file: Option<PathBuf>| Settings {
        host: host.into(),
        tls: Some(Tls { ca_file }),
        ..settings(&broker)
    };
    probe(&with("localhost", Some(keys.ca())), LIMIT).unwrap();
    let publisher = Running::start(with("localhost", Some(keys.ca())));
    publisher.add(1);
    publisher.wait_until_empty();

    let error = probe(&with("localhost", Some(other.ca())), LIMIT).unwrap_err();
    assert!(error.to_string().contains("mqtt.ca_file"), "{error}: {error:?}");
    assert!(matches!(error, NotifyError::Untrusted { .. }), "{error:?}");

    let error = probe(&with("127.0.0.1", Some(keys.ca())), LIMIT).unwrap_err();
    assert!(error.to_string().contains("another host name"), "{error}: {error:?}");

    let error = probe(&Settings { tls: None, ..with("localhost", None) }, LIMIT).unwrap_err();
    assert!(error.to_string().contains("mqtts"), "a TLS port spoken to in plain: {error}");
}

#[test]
fn a_ca_file_that_is_none_is_named() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().unwrap();
    let with = |file: &Path| Settings { tls: Some(Tls { ca_file: Some(file.into()) }), ..settings(&broker) };
    let missing = folder.path().join("missing.pem");
    let error = probe(&with(&missing), LIMIT).unwrap_err();
    assert!(
        matches!(error, NotifyError::CaUnreadable { .. }) && error.to_string().contains("missing.pem"),
        "{error}"
    );
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate\n").unwrap();
    let error = probe(&with(&empty), LIMIT).unwrap_err();
    assert!(matches!(error, NotifyError::CaEmpty { .. }), "{error:?}");

    // TLS spoken to a plain port.
    let keys = Authority::new("localhost");
    let error = probe(&with(&keys.ca()), LIMIT).unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}: {error:?}");
}

#[test]
fn a_port_that_speaks_no_mqtt_is_told() {
    let port = free_port();
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let answer = move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    };
    let server = std::thread::Builder::new().spawn(answer).unwrap();
    let broker = Broker::start();
    let error = probe(&Settings { port, ..settings(&broker) }, LIMIT).unwrap_err();
    assert!(matches!(error, NotifyError::NotMqtt { .. }), "{error:?}");
    server.join().unwrap();
}
