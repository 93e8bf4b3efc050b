//! Logins: who is let in, what is said when not, and that nobody else reads the password.

use portero::domain::Secret;

use super::server::{header, md5};
use super::*;

const USER: &str = "viewer";
const PASSWORD: &str = "geh\"eim: ä";

fn with_login(server: &Server, user: &str, password: &str) -> Settings {
    let login = Login { user: user.into(), password: Secret::new(password.into()) };
    http(HttpCamera { login: Some(login), ..camera(&server.url("/cgi/video?channel=1")) })
}

/// The parameters of a `Digest` answer.
fn parameter<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    let value = said.split([',', ' ']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"'))
}

/// Whether the request proves the password for this nonce (RFC 7616, 3.4.1, MD5 and `qop=auth`), reckoned by md5sum.
fn is_proven(request: &str, nonce: &str) -> bool {
    let Some(said) = header(request, "authorization").and_then(|said| said.strip_prefix("Digest ")) else {
        return false;
    };
    let uri = request.split(' ').nth(1).unwrap();
    let secret = md5(&format!("{USER}:Cam:{PASSWORD}"));
    let asked = md5(&format!("GET:{uri}"));
    let [nc, cnonce, qop] = ["nc", "cnonce", "qop"].map(|name| parameter(said, name).unwrap_or_default());
    let expected = md5(&format!("{secret}:{nonce}:{nc}:{cnonce}:{qop}:{asked}"));
    parameter(said, "nonce") == Some(nonce) && parameter(said, "response") == Some(&expected)
}

fn challenge(line: &mut dyn server::Line, nonce: &str, more: &str) -> std::io::Result<bool> {
    let asked = format!("WWW-Authenticate: Digest realm=\"Cam\", nonce=\"{nonce}\", qop=\"auth\"{more}\r\n");
    bare(line, "401 Unauthorized", &asked)
}

#[test]
fn digest_proves_the_password_without_sending_it() {
    let server = Server::start(|request, n, line| {
        if is_proven(request, "n1") { picture(line, n as u8) } else { challenge(line, "n1", "") }
    });
    let running = start(with_login(&server, USER, PASSWORD));
    running.frames(3);
    let requests = server.requests();
    assert!(!is_proven(&requests[0], "n1") && requests[1..].iter().all(|r| is_proven(r, "n1")));
    let counts: Vec<_> = requests[1..4].iter().map(|r| parameter(r, "nc").unwrap().to_owned()).collect();
    assert_eq!(counts, ["00000001", "00000002", "00000003"]);
    assert!(!requests.concat().contains("geh"));
}

#[test]
fn a_nonce_that_grows_old_is_replaced_with_and_without_a_word() {
    for word in ["", ", stale=true"] {
        let server = Server::start(move |request, n, line| {
            let nonce = format!("n{}", n / 4);
            if is_proven(request, &nonce) { picture(line, n as u8) } else { challenge(line, &nonce, word) }
        });
        let running = start(with_login(&server, USER, PASSWORD));
        running.frames(8);
        assert_eq!(running.counters.reopens(), 0, "{word}");
    }
}

#[test]
fn the_better_of_two_ways_is_taken() {
    let server = Server::start(|request, n, line| {
        if is_proven(request, "n") {
            return picture(line, n as u8);
        }
        let two = "WWW-Authenticate: Basic realm=\"Cam\"\r\n\
                   WWW-Authenticate: Digest realm=\"Cam\", nonce=\"n\", qop=\"auth\"\r\n";
        bare(line, "401 Unauthorized", two)
    });
    start(with_login(&server, USER, PASSWORD)).frame();
}

#[test]
fn basic_serves_where_nothing_else_is_asked_for() {
    let server = Server::start(|request, n, line| {
        // "viewer:geh\"eim: ä" by coreutils' base64.
        if header(request, "authorization") == Some("Basic dmlld2VyOmdlaCJlaW06IMOk") {
            return picture(line, n as u8);
        }
        bare(line, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n")
    });
    start(with_login(&server, USER, PASSWORD)).frame();
}

#[test]
fn a_login_that_is_missing_wrong_or_asked_for_strangely_is_told_apart() {
    let server = Server::start(|_, _, line| challenge(line, "n", ""));
    let url = server.url("/cgi/video");
    let without = start(http(camera(&server.url("/cgi/video?channel=1")))).reaches(CameraState::Offline);
    assert_eq!(without, format!("{url} asks for a login: give `user` and `password_file`"));
    let asked = server.requests().len();
    let wrong = start(with_login(&server, USER, "wrong"));
    let said = wrong.reaches(CameraState::Offline);
    assert_eq!(said, format!("{url} refuses the user or the password"));
    drop(wrong);
    assert!(server.requests().len() - asked <= 4, "no camera is to be hammered until it locks the account");

    let stale_for_ever = Server::start(|_, n, line| challenge(line, &format!("n{n}"), ", stale=true"));
    let said = start(with_login(&stale_for_ever, USER, PASSWORD)).reaches(CameraState::Offline);
    assert!(said.ends_with("refuses the user or the password"), "{said}");

    let strange =
        Server::start(|_, _, line| bare(line, "401 Unauthorized", "WWW-Authenticate: Negotiate abc\r\n"));
    let said = start(with_login(&strange, USER, PASSWORD)).reaches(CameraState::Offline);
    assert!(said.contains("asks for a login in an unknown way"), "{said}");
}

#[test]
fn a_redirect_to_another_host_takes_no_login_along() {
    let thief = Server::start(|_, n, line| picture(line, n as u8));
    let lure = format!("Location: http://localhost:{}/\r\n", thief.port());
    let server = Server::start(move |_, _, line| bare(line, "302 Found", &lure));
    let why = start(with_login(&server, USER, PASSWORD)).reaches(CameraState::Offline);
    assert!(why.contains("redirects to another host"), "{why}");
    assert!(thief.requests().is_empty());
}

#[test]
fn a_redirect_to_another_port_of_the_host_takes_no_login_along() {
    let thief = Server::start(|_, n, line| picture(line, n as u8));
    let lure = format!("Location: {}\r\n", thief.url("/"));
    let server = Server::start(move |_, _, line| bare(line, "302 Found", &lure));
    let why = start(with_login(&server, USER, PASSWORD)).reaches(CameraState::Offline);
    assert!(why.contains("redirects to another port, ") && why.ends_with("write it as the url"), "{why}");
    assert!(thief.requests().is_empty());
    start(http(camera(&server.url("/")))).frame();
}

#[test]
fn a_redirect_to_tls_takes_no_login_along() {
    let server = Server::start(|_, _, line| {
        let lure = "Location: https://127.0.0.1/cgi/video\r\n";
        bare(line, "302 Found", lure)
    });
    let why = start(with_login(&server, USER, PASSWORD)).reaches(CameraState::Offline);
    assert!(why.contains("redirects to TLS, https://127.0.0.1/cgi/video: write the https url"), "{why}");
}

#[test]
fn what_a_server_repeats_of_our_secrets_is_not_shown() {
    let server = Server::start(|request, _, line| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let basic = header(request, "authorization").unwrap_or("none").to_owned();
        if basic == "none" {
            return bare(line, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n");
        }
        bare(line, &format!("404 Wort/Drei {path} {basic}"), "")
    });
    let login = Login { user: USER.into(), password: Secret::new("Wort/Drei".into()) };
    let camera = HttpCamera { login: Some(login), ..camera(&server.url("/snap?pass=FrageEins&y=FrageZwei")) };
    let why = start(http(camera)).reaches(CameraState::Offline);
    assert!(why.contains("answers 404"), "{why}");
    assert!(!["Wort", "Frage", "dmlld2"].iter().any(|secret| why.contains(secret)), "{why}");
}
