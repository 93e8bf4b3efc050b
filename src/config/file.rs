//! The files a configuration consists of: who may write it, who may read its secrets.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::problem::Problem;
use super::reader::Report;
use crate::trust::{self, Distrust};
use crate::words::hex;

/// Larger than any sane configuration; keeps a mistaken path from filling the memory.
const MAX_CONFIG_BYTES: u64 = 4 << 20;
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// What a configuration depends on beside its own text.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Relative paths start here: the folder of the configuration file.
    pub(super) folder: PathBuf,
    /// The machine's name.
    pub(super) hostname: String,
    /// Where systemd puts credentials.
    pub(super) credentials: Option<PathBuf>,
}

impl Place {
    /// The surroundings of a configuration file on this machine.
    pub(super) fn of(config: &Path) -> Self {
        let folder = config.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self {
            folder: folder.to_owned(),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        }
    }

    /// A path of the file, made relative to the file's folder.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }
}

/// The text of a configuration file and the SHA-256 of its bytes.
pub(super) struct ConfigText {
    pub(super) text: String,
    pub(super) sha256: String,
    /// Why it cannot be trusted with a door.
    pub(super) distrust: Option<Distrust>,
}

/// Reads a configuration file that nobody but its owner and group can write.
pub(super) fn read_config(path: &Path) -> Result<ConfigText, Box<Problem>> {
    let Content { bytes, mode, distrust } =
        read_regular(path, MAX_CONFIG_BYTES).map_err(|reason| Box::new(config_problem(path, &reason)))?;
    if mode & 0o002 != 0 {
        let shown = path.display();
        let message = format!("everybody may write {shown} (mode {mode:04o})");
        let help = format!("who writes this file opens the doors; take that away: chmod o-w {shown}");
        return Err(Box::new(Problem::of_file(message).help(help)));
    }
    let sha256 = hex(&Sha256::digest(&bytes));
    let text = String::from_utf8(bytes).map_err(|error| Box::new(no_text(path, &error)))?;
    Ok(ConfigText { text, sha256, distrust })
}

fn no_text(path: &Path, error: &FromUtf8Error) -> Problem {
    let at = error.utf8_error().valid_up_to();
    let line = error.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
    let message = format!("{} is no UTF-8 text: line {line}, byte {at} of the file", path.display());
    Problem::of_file(message).help("save the file as UTF-8")
}

fn config_problem(path: &Path, reason: &Unreadable) -> Problem {
    let shown = path.display();
    let problem = Problem::of_file(format!("{shown} {reason}"));
    match reason {
        Unreadable::Missing => problem.help("name another file with --config, or run scripts/install"),
        Unreadable::Denied => problem.help(format!("let the service's user read it: chmod g+r {shown}")),
        _ => problem,
    }
}

/// Reads the password that `password_file` names: a path, or `credential:NAME`.
pub(super) fn read_secret(place: &Place, reference: &Spanned<String>, report: &Report) -> Option<String> {
    let refuse = |Refusal(message, help)| report.add(Problem::error(reference.span(), message).help(help));
    let (secret, distrust) = secret(place, reference.get_ref()).map_err(refuse).ok()?;
    if let Some(distrust) = distrust {
        report.distrust(Some(reference.span()), "password file", &distrust);
    }
    Some(secret)
}

/// What is wrong with a secret, and the remedy.
struct Refusal(String, String);

fn secret(place: &Place, text: &str) -> Result<(String, Option<Distrust>), Refusal> {
    let path = secret_path(place, text)?;
    let shown = path.display();
    let Content { bytes, mode, distrust } = read_regular(&path, MAX_SECRET_BYTES).map_err(|reason| {
        let remedy = match text.strip_prefix("credential:") {
            Some(name) => format!("LoadCredential={name}:PATH in the unit says where systemd takes it from"),
            None => format!("write the password into {shown}"),
        };
        Refusal(format!("the password file {shown} {reason}"), remedy)
    })?;
    if mode & 0o004 != 0 {
        let message = format!("everybody may read the password file {shown} (mode {mode:04o})");
        return Err(Refusal(message, format!("take that away: chmod o-r {shown}")));
    }
    let secret = String::from_utf8(bytes).unwrap_or_default();
    match secret.trim_end_matches(['\n', '\r']) {
        "" => Err(Refusal(
            format!("the password file {shown} is empty or no UTF-8 text"),
            "it holds the password on one line".to_owned(),
        )),
        secret => Ok((secret.to_owned(), distrust)),
    }
}

fn secret_path(place: &Place, text: &str) -> Result<PathBuf, Refusal> {
    let Some(name) = text.strip_prefix("credential:") else { return Ok(place.path(text)) };
    if name.is_empty() || name.contains('/') {
        let example = "for example: password_file = \"credential:mqtt\"";
        return Err(Refusal(format!("{text:?} names no credential"), example.to_owned()));
    }
    let Some(folder) = &place.credentials else {
        let message = format!("there is no credential {name:?}: CREDENTIALS_DIRECTORY is not set");
        let remedy = "systemd sets it for the service; docs/config.md says how to check by hand";
        return Err(Refusal(message, remedy.to_owned()));
    };
    Ok(folder.join(name))
}

/// Why a file gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("does not exist")]
    Missing,
    #[error("may not be read by this user")]
    Denied,
    #[error("is a directory")]
    Directory,
    #[error("is no regular file")]
    Special,
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    #[error("cannot be read: {0}")]
    Other(io::Error),
}

/// What a regular file holds.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// Its permission bits.
    pub(super) mode: u32,
    /// Why it cannot be trusted with a door.
    pub(super) distrust: Option<Distrust>,
}

/// The content of a regular file of at most `limit` bytes. What is said of the file is said of the very one that was read. A
/// FIFO is refused, so that a mistaken path never blocks.
pub(super) fn read_regular(path: &Path, limit: u64) -> Result<Content, Unreadable> {
    let open = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, open, Mode::empty()).map_err(|errno| unreadable(errno.into()))?;
    let file = File::from(file);
    let meta = file.metadata().map_err(unreadable)?;
    if meta.is_dir() {
        return Err(Unreadable::Directory);
    }
    if !meta.is_file() {
        return Err(Unreadable::Special);
    }
    let mut bytes = Vec::new();
    (&file).take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(Unreadable::TooLarge(limit));
    }
    let distrust = trust::examine(&file, path).map_err(unreadable)?;
    Ok(Content { bytes, mode: meta.permissions().mode() & 0o7777, distrust })
}

fn unreadable(error: io::Error) -> Unreadable {
    match error.kind() {
        io::ErrorKind::NotFound => Unreadable::Missing,
        io::ErrorKind::PermissionDenied => Unreadable::Denied,
        _ => Unreadable::Other(error),
    }
}
