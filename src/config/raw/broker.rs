//! `[mqtt]`.

use std::ops::Range;

use super::general::RawSite;
use super::login::{certificates, login};
use crate::config::file::Place;
use crate::config::keys;
use crate::config::problem::Problem;
use crate::config::reader::{Table, Value};
use crate::notify::{Settings, Tls};

const URL_HELP: &str =
    "allowed: mqtt://HOST[:PORT] (port 1883 by default) or mqtts://HOST[:PORT] (port 8883)";

/// `[mqtt]`; `settings` is `None` when it is wrong and was reported.
pub(in crate::config) struct RawBroker {
    pub(in crate::config) prefix: String,
    pub(in crate::config) settings: Option<Settings>,
}

struct Address {
    tls: bool,
    host: String,
    port: u16,
}

pub(super) fn read(file: &Table<'_>, site: &RawSite, place: &Place) -> Option<RawBroker> {
    let table = file.get("mqtt")?.table(&keys::MQTT)?;
    let prefix = topic_setting(&table, "prefix", "portero");
    let discovery_prefix = match table.get("discovery_prefix") {
        Some(value) => match value.as_bool() {
            Some(false) => None,
            Some(true) => value.wrong("a topic, or false"),
            None => topic(&value),
        },
        None => Some("homeassistant".to_owned()),
    };
    let client_id = table
        .get("client_id")
        .map_or_else(|| Some(format!("portero-{}", place.hostname)), |value| client_id(&value));
    let login = login(&table, place);
    let address = table.required("url", "\"mqtt://127.0.0.1:1883\"").and_then(|value| address(&value));
    let tls = tls(&table, address.as_ref(), place);
    let settings = address.zip(client_id).map(|(address, client_id)| Settings {
        host: address.host,
        port: address.port,
        tls: address.tls.then_some(tls),
        login,
        prefix: prefix.clone(),
        discovery_prefix,
        client_id,
        site: site.name.clone(),
        // Filled in when the cameras are known.
        tamper: Vec::new(),
    });
    Some(RawBroker { prefix, settings })
}

fn address(value: &Value<'_>) -> Option<Address> {
    let text = value.text()?;
    let shown = if text.contains('@') { "the url".to_owned() } else { format!("{text:?}") };
    parse_url(text)
        .map_err(|fault| value.report.add(value.error(format!("{shown} {fault}")).help(URL_HELP)))
        .ok()
}

fn parse_url(text: &str) -> Result<Address, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("is no url")?;
    let tls = match scheme {
        "mqtt" => false,
        "mqtts" => true,
        _ => return Err("has an unknown scheme"),
    };
    if rest.contains('@') {
        return Err("holds a login: write `user` and `password_file` instead");
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
            (host, port.strip_prefix(':').or((!port.is_empty()).then_some("?")))
        }
        Some(_) => return Err("holds no IPv6 address within its brackets"),
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(host_char) {
        return Err("has no valid host");
    }
    let port = match port {
        None => {
            if tls {
                8883
            } else {
                1883
            }
        }
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or("has no valid port (1 to 65535)")?,
    };
    Ok(Address { tls, host: host.to_owned(), port })
}

fn tls(table: &Table<'_>, address: Option<&Address>, place: &Place) -> Tls {
    let Some(value) = table.get("ca_file") else { return Tls { ca_file: None } };
    if address.is_some_and(|address| !address.tls) {
        table.pointless("ca_file", "the url is mqtt://; for TLS write mqtts://");
    }
    Tls { ca_file: certificates(&value, place) }
}

fn client_id(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let fits = text.len() <= 64 && text.chars().all(|c| c.is_ascii_graphic());
    if fits {
        Some(text.to_owned())
    } else {
        value.wrong("1 to 64 printable ASCII characters without blanks")
    }
}

fn topic_setting(table: &Table<'_>, key: &'static str, default: &str) -> String {
    table.get(key).and_then(|value| topic(&value)).unwrap_or_else(|| default.to_owned())
}

fn topic(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    match topic_fault(text) {
        None => Some(text.to_owned()),
        Some(fault) => value.reject(bad_topic(value.span.clone(), text, fault)),
    }
}

pub(super) fn bad_topic(span: Range<usize>, text: &str, fault: &str) -> Problem {
    Problem::error(span, format!("{text:?} is no topic to publish to")).label(fault)
}

/// What keeps a text from being a topic that can be published to (MQTT 3.1.1, section 4.7).
pub(super) fn topic_fault(text: &str) -> Option<&'static str> {
    let faults = [
        (text.contains(['+', '#']), "`+` and `#` are for subscribing"),
        (text.starts_with('$'), "topics that begin with `$` belong to the broker"),
        (text.starts_with('/') || text.ends_with('/'), "it must not begin or end with `/`"),
        (text.contains("//"), "a level is empty"),
        (text.chars().any(|c| c.is_control() || c.is_whitespace()), "no blanks or control characters"),
        (text.len() > 256, "longer than 256 bytes"),
    ];
    faults.into_iter().find(|(wrong, _)| *wrong).map(|(_, fault)| fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_host_and_port() {
        let read = |text| parse_url(text).map(|a| (a.tls, a.host, a.port));
        assert_eq!(read("mqtt://broker"), Ok((false, "broker".to_owned(), 1883)));
        assert_eq!(read("mqtts://10.0.0.2/"), Ok((true, "10.0.0.2".to_owned(), 8883)));
        assert_eq!(read("mqtt://[::1]:1884"), Ok((false, "::1".to_owned(), 1884)));
        assert_eq!(read("mqtt://[::1]"), Ok((false, "::1".to_owned(), 1883)));
        for bad in [
            "",
            "broker",
            "http://broker",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://b:0",
            "mqtt://b:65536",
            "mqtt://b:x",
            "mqtt://u:p@b",
            "mqtt://b/x",
            "mqtt://[::1]x",
            "mqtt://[b]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
