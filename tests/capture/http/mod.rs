//! Web servers of cameras, and all that such a server can do wrong.

mod login;
pub(super) mod server;

use portero::capture::{Address, HttpCamera};
use portero::domain::{FrameClock, Login};
use server::{STREAM, Server, bare, hang, jpeg, part, picture};

use super::*;
use crate::support::authority::Authority;

fn camera(url: &str) -> HttpCamera {
    HttpCamera { address: Address::parse(url).unwrap(), login: None, ca_file: None }
}

fn http(camera: HttpCamera) -> Settings {
    Settings { fps: 60.0, ..settings(Source::Http(camera)) }
}

fn run(server: &Server, path: &str) -> Running {
    start(http(camera(&server.url(path))))
}

fn why(server: &Server) -> String {
    run(server, "/").reaches(CameraState::Offline)
}

/// The grey of a frame.
fn grey(frame: &Frame) -> u8 {
    brightness(frame).round() as u8
}

#[test]
fn a_stream_gives_its_pictures_whatever_it_says_about_their_lengths() {
    let server = Server::start(|_, _, line| {
        line.write_all(STREAM.as_bytes())?;
        for n in 0..250u8 {
            let (jpeg, lies) = (jpeg(n), [None, Some(1), Some(9_999_999), Some(0)]);
            let length = if n % 2 == 0 { Some(jpeg.len()) } else { lies[usize::from(n / 2 % 4)] };
            part(line, &jpeg, length)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        hang(line)
    });
    let running = run(&server, "/video?user=me");
    let greys: Vec<u8> = running.frames(20).iter().map(grey).collect();
    assert!(greys.is_sorted() && greys[0] < 40 && greys.windows(2).all(|g| g[1] > g[0]), "{greys:?}");
    assert_eq!((running.counters.decode_errors(), running.counters.reopens()), (0, 0));
    let asked = &server.requests()[0];
    assert!(asked.starts_with("GET /video?user=me HTTP/1.1\r\n"), "{asked}");
    assert_eq!(server::header(asked, "host").unwrap(), format!("127.0.0.1:{}", server.port()));
}

#[test]
fn a_stream_in_chunks_that_cut_pictures_anywhere_is_put_together() {
    let server = Server::start(|_, _, line| {
        write!(line, "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=x\r\n")?;
        write!(line, "Transfer-Encoding: chunked\r\n\r\n")?;
        for n in 0..200 {
            let bytes = [b"--x\r\n\r\n", &jpeg(n)[..], b"\r\n"].concat();
            for piece in bytes.chunks(97) {
                write!(line, "{:x}\r\n", piece.len())?;
                line.write_all(piece)?;
                write!(line, "\r\n")?;
            }
            line.flush()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        hang(line)
    });
    let running = run(&server, "/");
    assert_eq!(running.frames(5).len(), 5);
    assert_eq!(running.counters.decode_errors(), 0);
}

#[test]
fn single_pictures_are_asked_for_at_the_cameras_rate_over_one_connection() {
    let server = Server::start(|_, n, line| picture(line, n as u8));
    let running = start(Settings { fps: 10.0, ..http(camera(&server.url("/snapshot.jpg"))) });
    let frames = running.frames(6);
    let took = frames[5].at().stamp.since(frames[0].at().stamp);
    assert!(took >= Duration::from_millis(350), "6 pictures at 10 a second came within {took:?}");
    assert!(frames.windows(2).all(|pair| grey(&pair[0]) < grey(&pair[1])), "each is a new one");
    assert_eq!((running.counters.reopens(), server.connections()), (0, 1));
}

#[test]
fn a_stream_that_calls_itself_a_picture_does_not_go_blind() {
    let server = Server::start(|_, _, line| {
        write!(line, "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n")?;
        for n in 0..200 {
            line.write_all(&jpeg(n))?;
            std::thread::sleep(Duration::from_millis(50));
        }
        hang(line)
    });
    let running = run(&server, "/");
    let frames = running.frames(40);
    assert!(frames.iter().all(|frame| frame.at().clock == FrameClock::Arrival), "nobody dates them");
    assert_eq!((running.counters.reopens(), running.state_names().contains(&"degraded")), (0, false));
}

#[test]
fn a_server_that_closes_after_each_picture_is_connected_to_again() {
    let server = Server::start(|_, n, line| picture(line, n as u8).map(|_| false));
    let running = run(&server, "/");
    running.frames(4);
    assert!(server.connections() >= 4);
    assert_eq!((running.counters.reopens(), running.counters.decode_errors()), (0, 0));
}

#[test]
fn a_silent_stream_is_a_stall_and_is_asked_again() {
    let server = Server::start(|_, _, line| {
        line.write_all(STREAM.as_bytes())?;
        part(line, &jpeg(7), None)?;
        part(line, &jpeg(8)[..300], None)?;
        hang(line)
    });
    let settings = Settings { stall_after: Duration::from_secs(1), ..http(camera(&server.url("/"))) };
    let running = start(settings);
    assert_eq!(running.reaches(CameraState::Stalled), "no picture for 1.0 s");
    server.wait_for_requests(2);
    wait_until("it to be online again", || {
        while running.frames.try_recv().is_ok() {}
        running.state_names().ends_with(&["stalled", "online"])
    });
}

#[test]
fn broken_pictures_cost_only_themselves() {
    let server = Server::start(|_, _, line| {
        line.write_all(STREAM.as_bytes())?;
        for n in 0..200u8 {
            let mut bytes = jpeg(n);
            match n % 4 {
                1 => bytes.truncate(bytes.len() / 2),
                2 => bytes[200..260].fill(0xff),
                3 => bytes = b"\xff\xd8\xff\xda\x00\x02nonsense\xff\xd9".to_vec(),
                _ => {}
            }
            part(line, &bytes, Some(bytes.len()))?;
            std::thread::sleep(Duration::from_millis(20));
        }
        hang(line)
    });
    let running = run(&server, "/");
    running.frames(6);
    assert!(running.counters.decode_errors() >= 6, "{}", running.counters.decode_errors());
    assert_eq!(running.counters.reopens(), 0);
}

#[test]
fn a_stream_that_ends_or_breaks_is_opened_again() {
    let server = Server::start(|_, n, line| {
        match n {
            0 => line.write_all(STREAM.as_bytes())?,
            _ => {
                line.write_all(STREAM.replace("\r\n\r\n", "\r\nContent-Length: 99999\r\n\r\n").as_bytes())?;
            }
        }
        part(line, &jpeg(n as u8), None)?;
        Ok(false)
    });
    let running = run(&server, "/live");
    running.frames(2);
    wait_until("both ends", || {
        running.states().iter().filter(|(s, _)| *s == CameraState::Offline).count() >= 2
    });
    let ends: Vec<String> = running
        .states()
        .into_iter()
        .filter(|(s, _)| *s == CameraState::Offline)
        .map(|(_, why)| why)
        .collect();
    assert_eq!(ends[0], format!("{} ended its stream after 1 pictures", server.url("/live")));
    assert!(
        ends[1].starts_with(&format!("{} broke off after 1 pictures: ", server.url("/live"))),
        "{}",
        ends[1]
    );
}

#[test]
fn what_is_no_picture_is_named() {
    let reply = |head: &'static str, body: &'static str| {
        Server::start(move |_, _, line| {
            let length = body.len();
            write!(line, "HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}")?;
            Ok(true)
        })
    };
    for (head, body, expected) in [
        ("404 Not Found", "", "answers 404 Not Found"),
        ("503 Service Unavailable\r\nContent-Type: text/html", "busy", "answers 503 Service Unavailable"),
        ("200 OK\r\nContent-Type: text/html; charset=x", "<html>", "gives `text/html`, not pictures"),
        (
            "200 OK\r\nContent-Type: image/jpeg",
            "GIF89a",
            "gives an answer without a JPEG in it, not pictures",
        ),
    ] {
        let server = reply(head, body);
        assert_eq!(why(&server), format!("{} {expected}", server.url("/")));
    }
    let closed = Server::start(|_, _, _| Ok(false));
    let url = closed.url("/");
    assert!(why(&closed).starts_with(&format!("{url} broke off: ")));
    drop(closed);
    let refused = start(http(camera(&url))).reaches(CameraState::Offline);
    assert!(refused.starts_with(&format!("{url} cannot be reached: ")), "{refused}");
}

#[test]
fn a_server_without_measure_is_left() {
    let endless_head = Server::start(|_, _, line| {
        write!(line, "HTTP/1.1 200 OK\r\n")?;
        for n in 0.. {
            write!(line, "X-{n}: {}\r\n", "x".repeat(500))?;
        }
        Ok(false)
    });
    assert!(why(&endless_head).contains(" broke off: "), "{}", why(&endless_head));

    let one_long_header = Server::start(|_, _, line| {
        write!(line, "HTTP/1.1 200 OK\r\nX: ")?;
        while line.write_all(&[b'x'; 4096]).is_ok() {}
        Ok(false)
    });
    assert!(why(&one_long_header).contains(" broke off: "));

    let no_http = Server::start(|_, _, line| {
        while line.write_all(b"\x00garbage \xff\xd8\xff\r\n").is_ok() {}
        Ok(false)
    });
    assert!(why(&no_http).contains(" broke off: "));

    let no_picture = Server::start(|_, _, line| {
        line.write_all(STREAM.as_bytes())?;
        while line.write_all(&[b'-'; 65536]).is_ok() {}
        Ok(false)
    });
    let said = why(&no_picture);
    assert!(said.ends_with(" bytes without a JPEG picture in them, not pictures"), "{said}");

    let endless_picture = Server::start(|_, _, line| {
        line.write_all(STREAM.as_bytes())?;
        line.write_all(b"\xff\xd8\xff\xda\x00\x02")?;
        while line.write_all(&[b'y'; 65536]).is_ok() {}
        Ok(false)
    });
    let running = run(&endless_picture, "/");
    wait_until("the endless picture to be given up", || running.counters.decode_errors() >= 1);
}

#[test]
fn redirects_are_followed_at_home_and_nowhere_else() {
    let server = Server::start(|request, n, line| match request.split(' ').nth(1).unwrap() {
        "/old" => bare(line, "302 Found", "Location: cgi/new?a=b\r\n"),
        "/cgi/new?a=b" => picture(line, n as u8),
        "/round" => bare(line, "301 Moved Permanently", "Location: /round\r\n"),
        "/away" => bare(line, "307 Temporary Redirect", "Location: http://192.0.2.1/x\r\n"),
        "/bad" => bare(line, "302 Found", "Location: file:///etc/passwd\r\n"),
        _ => bare(line, "404 Not Found", ""),
    });
    run(&server, "/old").frame();
    for (path, expected) in [
        ("/round", "redirects more than 5 times"),
        ("/away", "redirects to another host, http://192.0.2.1/x: if that is right, write it as the url"),
        ("/bad", "redirects to what is no url of a camera"),
    ] {
        let running = run(&server, path);
        assert_eq!(running.reaches(CameraState::Offline), format!("{} {expected}", server.url(path)));
    }
}

#[test]
fn a_server_that_never_answers_delays_neither_its_stop_nor_another_camera() {
    let silent = Server::start(|_, _, line| hang(line));
    let good = Server::start(|_, n, line| picture(line, n as u8));
    let (waiting, other) = (run(&silent, "/"), run(&good, "/"));
    silent.wait_for_requests(1);
    other.frames(3);
    let begun = SystemClock.now();
    waiting.finish();
    assert!(SystemClock.now().since(begun) < Duration::from_secs(3));
    other.frame();
}

#[test]
fn tls_trusts_an_authority_or_the_cameras_own_certificate_and_nobody_else() {
    let keys = Authority::new("localhost");
    keys.sign_oneself();
    let one = |certificate: &str, key: &str| {
        Server::start_tls(&keys.file(certificate), &keys.file(key), |_, n, line| picture(line, n as u8))
    };
    let (signed, own) = (one("server.crt", "server.key"), one("own.crt", "own.key"));
    let with = |url: String, ca: &str| HttpCamera { ca_file: Some(keys.file(ca)), ..camera(&url) };
    let localhost = format!("https://localhost:{}/", signed.port());
    start(http(with(localhost.clone(), "ca.crt"))).frame();
    start(http(with(own.url("/"), "own.crt"))).frame();
    for stranger in [with(signed.url("/"), "ca.crt"), with(own.url("/"), "ca.crt"), camera(&localhost)] {
        let running = start(http(stranger));
        let why = running.reaches(CameraState::Offline);
        assert!(why.contains("no secure connection to https://"), "{why}");
        assert_eq!(running.counters.frames(), 0);
    }
    let why = start(http(with(localhost, "server.key"))).reaches(CameraState::Offline);
    assert!(why.ends_with("server.key holds no PEM certificate"), "{why}");
}

#[test]
fn a_redirect_leads_into_tls_but_not_out_of_it() {
    let keys = Authority::new("127.0.0.1");
    keys.sign_oneself();
    let plain = Server::start(|_, n, line| picture(line, n as u8));
    let out = format!("Location: {}\r\n", plain.url("/"));
    let secure = Server::start_tls(&keys.file("own.crt"), &keys.file("own.key"), move |request, n, line| {
        if request.starts_with("GET /out ") { bare(line, "302 Found", &out) } else { picture(line, n as u8) }
    });
    let home = format!("Location: {}\r\n", secure.url("/"));
    let into = Server::start(move |_, _, line| bare(line, "302 Found", &home));
    let trusting = |url: String| HttpCamera { ca_file: Some(keys.file("own.crt")), ..camera(&url) };
    start(http(trusting(into.url("/")))).frame();
    let why = start(http(trusting(secure.url("/out")))).reaches(CameraState::Offline);
    assert_eq!(why, format!("{} redirects away from TLS, to {}", secure.url("/out"), plain.url("/")));
}
