//! Finds network cameras: asks the local network which ONVIF video transmitters are there.
//!
//! WS-Discovery 1.1, a Probe for `dn:NetworkVideoTransmitter` by UDP to 239.255.255.250, port 3702 (ONVIF Core
//! Specification, "Device discovery"). It reaches the network of the default route and no further; cameras with
//! discovery switched off do not answer. What answers is not believed in anything but its address and a name to show,
//! and it is asked nothing more: a camera tells its streams only to who logs in.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use roxmltree::{Document, Node, ParsingOptions};

use super::Address;
use crate::clock::Clock;

/// Where discovery listens.
pub const MULTICAST: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 3702));

/// Answers that are read, whatever they are.
const MOST_ANSWERS: usize = 1024;
/// Cameras that are told of.
const MOST_CAMERAS: usize = 256;
/// Parts of an answer's XML; an honest one has about 40. The parser goes down one level of its stack with each
/// element in another, so this bounds the stack, too.
const MOST_NODES: u32 = 256;
/// The question may be lost; it is asked so often.
const ASKED: u32 = 3;
const TURN: Duration = Duration::from_millis(100);
/// Characters of a name.
const NAME_LENGTH: usize = 48;

/// A camera that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answerer {
    /// Where its ONVIF service is: host and port.
    pub service: String,
    /// Its host alone.
    pub host: String,
    /// What it calls itself: letters, digits, blanks and `-_.` only; may be empty.
    pub name: String,
    /// What it calls its hardware, likewise.
    pub hardware: String,
}

/// Asks `target` ([`MULTICAST`]) and gathers answers for `time`, sorted by host, each host once. Blocks.
///
/// # Errors
/// The system refuses the socket or the sending.
pub fn discover(target: SocketAddr, time: Duration, clock: &dyn Clock) -> io::Result<Vec<Answerer>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_multicast_ttl_v4(2)?;
    socket.set_read_timeout(Some(TURN))?;
    let probe = probe(&uuid::Uuid::now_v7().to_string());
    let began = clock.now();
    let (mut asked, mut heard, mut cameras) = (0, 0, Vec::<Answerer>::new());
    let mut buffer = vec![0; 64 << 10];
    while clock.now().since(began) < time && heard < MOST_ANSWERS && cameras.len() < MOST_CAMERAS {
        if clock.now().since(began) >= time * asked / (2 * ASKED) && asked < ASKED {
            socket.send_to(probe.as_bytes(), target)?;
            asked += 1;
        }
        let length = match socket.recv_from(&mut buffer) {
            Ok((length, _)) => length,
            // A port that nobody listens on answers that it is closed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        heard += 1;
        let text = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
        for camera in answerers(text) {
            if cameras.iter().all(|known| known.host != camera.host) {
                cameras.push(camera);
            }
        }
    }
    cameras.sort_by(|a, b| a.host.cmp(&b.host));
    Ok(cameras)
}

fn probe(id: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><e:Header><w:MessageID>uuid:{id}</w:MessageID><w:To e:mustUnderstand="true">urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To><w:Action e:mustUnderstand="true">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header><e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body></e:Envelope>"#
    )
}

/// The cameras in an answer; none when it is no such answer.
fn answerers(text: &str) -> Vec<Answerer> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES };
    let Ok(document) = Document::parse_with_options(text, options) else { return Vec::new() };
    let matches = document.descendants().filter(|node| node.tag_name().name() == "ProbeMatch");
    matches.filter_map(answerer).collect()
}

fn answerer(answer: Node<'_, '_>) -> Option<Answerer> {
    let words = |name: &str| {
        let node = answer.children().find(|node| node.tag_name().name() == name);
        node.and_then(|node| node.text()).unwrap_or_default().split_whitespace().collect::<Vec<_>>()
    };
    // One that also speaks IPv6 lists such an address, too; the first that can be read is taken.
    let service = words("XAddrs").into_iter().find_map(|word| Address::parse(word).ok())?;
    let scopes = words("Scopes");
    let scope = |kind: &str| {
        let prefix = format!("onvif://www.onvif.org/{kind}/");
        let value = scopes.iter().find_map(|scope| scope.strip_prefix(prefix.as_str()));
        shown(value.unwrap_or_default())
    };
    Some(Answerer {
        service: service.host_header(),
        host: service.host().to_owned(),
        name: scope("name"),
        hardware: scope("hardware"),
    })
}

/// A scope's value, without what may not be shown: it comes from who knows where and goes to a terminal and a file.
fn shown(value: &str) -> String {
    let plain = value.replace("%20", " ").replace('_', " ");
    let harmless = |c: &char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '.');
    plain.chars().filter(harmless).take(NAME_LENGTH).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    /// An answer in the form of the ONVIF specification.
    fn answer(addresses: &str, scopes: &str) -> String {
        format!(
            r#"<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><s:Body><d:ProbeMatches><d:ProbeMatch><d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>{scopes}</d:Scopes><d:XAddrs>{addresses}</d:XAddrs></d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"#
        )
    }

    #[test]
    fn a_camera_is_named_by_its_address_and_its_scopes() {
        let scopes = "onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/name/IP%20Cam_7 onvif://www.onvif.org/hardware/DS-2CD";
        let found =
            answerers(&answer("http://[fe80::1]/onvif/device_service http://192.0.2.8/onvif", scopes));
        assert_eq!((found[0].host.as_str(), found.len()), ("fe80::1", 1));
        let found = answerers(&answer("http://192.0.2.8:8000/onvif/device_service", scopes));
        let expected = Answerer {
            service: "192.0.2.8:8000".into(),
            host: "192.0.2.8".into(),
            name: "IP Cam 7".into(),
            hardware: "DS-2CD".into(),
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn nonsense_and_malice_are_no_cameras() {
        let bomb = format!("<!DOCTYPE x [<!ENTITY a \"{}\">]><x>&a;</x>", "x".repeat(100));
        let deep = "<a>".repeat(10_000);
        for bad in ["", "hello", "<a>", &bomb, &deep, &answer("file:///etc/passwd", ""), &answer("", "")] {
            assert_eq!(answerers(bad), [], "{}", &bad[..bad.len().min(60)]);
        }
        let rude = answerers(&answer("http://192.0.2.8/", "onvif://www.onvif.org/name/a\u{9b}31m\"]x"));
        assert_eq!(rude[0].name, "a31mx");
    }

    #[test]
    fn who_answers_is_found_once_and_noise_does_no_harm() {
        let camera = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = camera.local_addr().unwrap();
        camera.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let answering = std::thread::Builder::new().spawn(move || {
            let mut buffer = [0; 4096];
            let (length, asker) = camera.recv_from(&mut buffer).unwrap();
            let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let answer = answer("http://192.0.2.8/onvif/device_service", "");
            for message in [&[0xff; 60_000][..], b"<x/>", answer.as_bytes(), answer.as_bytes()] {
                camera.send_to(message, asker).unwrap();
            }
            asked
        });
        let found = discover(target, Duration::from_secs(2), &SystemClock).unwrap();
        let asked = answering.unwrap().join().unwrap();
        assert!(Document::parse(&asked).is_ok() && asked.contains("dn:NetworkVideoTransmitter"), "{asked}");
        assert_eq!(found.iter().map(|camera| camera.host.as_str()).collect::<Vec<_>>(), ["192.0.2.8"]);
    }
}
