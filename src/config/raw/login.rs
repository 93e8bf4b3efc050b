//! `user` and `password_file`, which go together, and `ca_file`: of the broker and of cameras.

use std::path::PathBuf;

use crate::config::file::{Place, read_regular, read_secret};
use crate::config::reader::{Table, Value};
use crate::domain::{Login, Secret};

const MAX_CA_BYTES: u64 = 4 << 20;

/// The login, if there is one.
pub(super) fn login(table: &Table<'_>, place: &Place) -> Option<Login> {
    let (user, password) = (table.get("user"), table.get("password_file"));
    let lonely = |value: &Value<'_>, other: &str| {
        value.report.add(value.error(format!("a login needs `{other}` as well")));
        None
    };
    match (user, password) {
        (None, None) => None,
        (Some(user), None) => lonely(&user, "password_file"),
        (None, Some(password)) => lonely(&password, "user"),
        (Some(user), Some(password)) => {
            let secret = password.spanned_text().and_then(|text| read_secret(place, &text, table.report));
            Some(Login { user: user.text()?.to_owned(), password: Secret::new(secret?) })
        }
    }
}

/// The file that `ca_file` names; what is wrong with it was reported.
pub(super) fn certificates(value: &Value<'_>, place: &Place) -> Option<PathBuf> {
    let path = place.path(value.text()?);
    let fault = match read_regular(&path, MAX_CA_BYTES) {
        Err(reason) => Some(reason.to_string()),
        Ok(file) if !String::from_utf8_lossy(&file.bytes).contains("-----BEGIN CERTIFICATE-----") => {
            Some("holds no PEM certificate".to_owned())
        }
        Ok(file) => {
            if let Some(distrust) = file.distrust {
                value.report.distrust(Some(value.span.clone()), "certificate file", &distrust);
            }
            None
        }
    };
    if let Some(fault) = fault {
        value.report.add(
            value
                .error(format!("the certificate file {} {fault}", path.display()))
                .help("without `ca_file` the system's certificate authorities are trusted"),
        );
    }
    Some(path)
}
