//! Certificates for tests of TLS, made by openssl.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A certificate authority of our own, with a certificate for one host.
pub(crate) struct Authority(TempDir);

impl Authority {
    /// Fresh keys.
    pub(crate) fn new(host: &str) -> Self {
        let keys = Self(tempfile::tempdir().unwrap());
        let subject = format!("/CN=Test authority {}", keys.0.path().display().to_string().replace('/', "_"));
        keys.openssl(
            &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "ca.key"],
            |c| {
                c.args(["-out", "ca.crt", "-subj", &subject]);
            },
        );
        keys.openssl(
            &["req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr"],
            |c| {
                c.args(["-subj", &format!("/CN={host}")]);
            },
        );
        std::fs::write(keys.file("names"), format!("subjectAltName=DNS:{host}\n")).unwrap();
        keys.openssl(
            &["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2"],
            |c| {
                c.args(["-CAcreateserial", "-extfile", "names", "-out", "server.crt"]);
            },
        );
        keys
    }

    fn openssl(&self, args: &[&str], more: impl FnOnce(&mut Command)) {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(self.0.path()).stdout(Stdio::null()).stderr(Stdio::null());
        more(&mut command);
        let status = command.status().expect("openssl is needed by the tests: apt-get install openssl");
        assert!(status.success(), "{command:?}");
    }

    /// `server.crt`, `server.key`, and whatever else is put there.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The authority's own certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// Adds a certificate that nobody vouches for, for another name: `own.crt`, `own.key`.
    pub(crate) fn sign_oneself(&self) {
        self.openssl(
            &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "own.key"],
            |c| {
                c.args(["-out", "own.crt", "-subj", "/CN=IPCAM"]);
            },
        );
    }
}
