//! Who we are, as a web server wants to hear it: Basic (RFC 7617) or Digest (RFC 7616) authentication.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use digest_auth::{AuthContext, WwwAuthenticateHeader};

use crate::domain::Login;

/// Answers a server's challenge.
pub(super) enum Proof {
    Basic,
    Digest(Box<WwwAuthenticateHeader>),
}

impl Proof {
    /// Takes up the best of the challenges of a 401; why not, when none is known.
    pub(super) fn of<'c>(challenges: impl Iterator<Item = &'c str> + Clone) -> Result<Self, String> {
        let mut why = "it names none".to_owned();
        // Its parser slices where characters begin in ASCII only, and would panic elsewhere.
        for challenge in challenges.clone().filter(|challenge| challenge.is_ascii()) {
            let Some(at) = challenge.to_ascii_lowercase().find("digest ") else { continue };
            match digest_auth::parse(&format!("Digest {}", &challenge[at + "digest ".len()..])) {
                Ok(prompt) => return Ok(Self::Digest(Box::new(prompt))),
                Err(error) => why = error.to_string(),
            }
        }
        let mut schemes = challenges.filter_map(|challenge| challenge.split_whitespace().next());
        if schemes.any(|scheme| scheme.eq_ignore_ascii_case("basic")) { Ok(Self::Basic) } else { Err(why) }
    }

    /// Whether it is made for one challenge, and may have to be made anew.
    pub(super) fn is_digest(&self) -> bool {
        matches!(self, Self::Digest(_))
    }

    /// Whether the server says that only the age of the last proof was wrong.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Digest(prompt) if prompt.stale)
    }

    /// The value of the `Authorization` header for a `GET` of `target`.
    pub(super) fn show(&mut self, login: &Login, target: &str) -> Result<String, String> {
        let (user, password) = (login.user.as_str(), login.password.expose());
        match self {
            Self::Basic => Ok(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))),
            Self::Digest(prompt) => {
                let answer = prompt.respond(&AuthContext::new(user, password, target));
                answer.map(|answer| answer.to_header_string()).map_err(|error| error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    #[test]
    fn the_example_of_the_standard_is_proven() {
        // RFC 7616, 3.9.1, with the server's part only: the client's nonce is ours to choose, so the proof's form counts.
        let asked = r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
        let login = Login { user: "Mufasa".into(), password: Secret::new("Circle of Life".into()) };
        let mut proof = Proof::of([asked].into_iter()).unwrap();
        for count in ["nc=00000001", "nc=00000002"] {
            let said = proof.show(&login, "/dir/index.html").unwrap();
            for part in
                ["Digest username=\"Mufasa\"", "algorithm=SHA-256", "qop=auth,", count, "opaque=\"FQhe"]
            {
                assert!(said.contains(part), "{said}");
            }
        }
    }

    #[test]
    fn challenges_that_are_none_never_panic() {
        for bad in ["", "Digest", "Digest ä=\"ö\", nonce", "digest realm=\"x", "Negotiate", "Digest realm=x"]
        {
            assert!(Proof::of([bad].into_iter()).is_err(), "{bad}");
        }
        assert!(matches!(
            Proof::of(["Digest realm=\"ä\", nonce=\"n\"", "bAsIc x"].into_iter()),
            Ok(Proof::Basic)
        ));
    }
}
