//! One request and its answer: connect, TLS, login, redirects, each with its limit.
//!
//! A login is sent to the configured server only: with one, a redirect to another scheme, host or port is refused. Without
//! one a redirect may lead to another port of the host, or from `http` to `https`, but not back.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::login::Proof;
use super::message::{Body, HEAD_BYTES, Head};
use super::{Address, HttpCamera, HttpError};
use crate::capture::{Masker, tls};
use crate::domain::Login;

/// How long a connection may take, TLS and all.
const CONNECTING: Duration = Duration::from_secs(5);
/// How long the head of an answer may take.
const ANSWERING: Duration = Duration::from_secs(10);
/// Redirects that are followed for one picture.
const MOST_REDIRECTS: u32 = 5;
/// Characters of a status' words that are repeated.
const REASON_CHARS: usize = 40;
/// The try with a login at which only a proof that has grown stale is worth another.
const LAST_LOGIN: u32 = 2;

/// A connection, plain or secured.
trait Line: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Line for T {}

/// A connection with what was read from it beyond the head of an answer.
struct Connection {
    line: Box<dyn Line>,
    read: Vec<u8>,
}

/// Asks a camera's web server, again and again, over one connection where it is kept open.
pub(super) struct Visitor {
    /// As configured.
    home: Address,
    /// Where redirects have led to.
    at: Address,
    login: Option<Login>,
    tls: Option<TlsConnector>,
    /// Hides our secrets in what the server says.
    masker: Masker,
    /// Answers the last challenge.
    proof: Option<Proof>,
    /// Free for another request.
    idle: Option<Connection>,
}

/// The answer to a request, with its body still to be read.
pub(super) struct Answer {
    pub(super) head: Head,
    body: Body,
    connection: Connection,
}

impl Visitor {
    pub(super) fn new(camera: &HttpCamera) -> Result<Self, HttpError> {
        // A redirect may lead to TLS, so a file of trust is read in any case.
        let ca_file = camera.ca_file.as_deref();
        let tls = (camera.address.is_tls() || ca_file.is_some()).then(|| tls::connector(ca_file));
        Ok(Self {
            home: camera.address.clone(),
            at: camera.address.clone(),
            login: camera.login.clone(),
            tls: tls.transpose()?,
            masker: camera.address.masker(camera.login.as_ref()),
            proof: None,
            idle: None,
        })
    }

    /// What the server said, without our secrets.
    pub(super) fn masked(&self, said: &str) -> String {
        self.masker.mask(said)
    }

    /// The url as it is shown.
    pub(super) fn address(&self) -> &Address {
        &self.at
    }

    /// The answer to one `GET`, a success.
    pub(super) async fn get(&mut self) -> Result<Answer, HttpError> {
        let (mut redirects, mut logins) = (0, 0);
        loop {
            let answer = self.ask().await?;
            let Head { status, ref reason, .. } = answer.head;
            match status {
                200..=299 => return Ok(answer),
                401 => {
                    logins += 1;
                    self.prepare_proof(&answer.head, logins)?;
                }
                300..=399 if answer.head.get("location").is_some() => {
                    redirects += 1;
                    self.follow(&answer.head, redirects)?;
                }
                _ => {
                    // Hidden first: a cut would leave the beginning of a secret.
                    let reason = self.masker.mask(reason).chars().take(REASON_CHARS).collect();
                    let address = self.at.clone();
                    return Err(HttpError::Refused { address, status, reason });
                }
            }
        }
    }

    /// One request over the open connection, or a new one.
    async fn ask(&mut self) -> Result<Answer, HttpError> {
        let request = self.request()?;
        if let Some(idle) = self.idle.take() {
            // One that fails was closed in the moment it was used again.
            if let Ok(answer) = self.converse(idle, &request).await {
                return Ok(answer);
            }
        }
        let connecting = timeout(CONNECTING, self.connect()).await;
        let line = connecting.unwrap_or_else(|_| Err(self.too_slow("connection", CONNECTING)))?;
        self.converse(Connection { line, read: Vec::new() }, &request).await
    }

    async fn connect(&self) -> Result<Box<dyn Line>, HttpError> {
        let at = &self.at;
        let unreachable = |source| HttpError::Unreachable { address: at.clone(), source };
        let stream = TcpStream::connect((at.host(), at.port())).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        if !at.is_tls() {
            return Ok(Box::new(stream));
        }
        let failed = |source| HttpError::Tls { address: at.clone(), source };
        let name = ServerName::try_from(at.host().to_owned()).map_err(|error| failed(Error::other(error)))?;
        let connector = match &self.tls {
            Some(connector) => connector.clone(),
            // Redirected from http without a file of its own: the system's authorities decide.
            None => tls::connector(None)?,
        };
        Ok(Box::new(connector.connect(name, stream).await.map_err(failed)?))
    }

    /// Sends the request and reads the head of the answer.
    async fn converse(&self, mut connection: Connection, request: &str) -> Result<Answer, HttpError> {
        let talk = async {
            connection.line.write_all(request.as_bytes()).await?;
            connection.line.flush().await?;
            loop {
                if let Some((head, length)) = Head::read(&connection.read)? {
                    connection.read.drain(..length);
                    return Ok((head.body()?, head));
                }
                connection.read_more(HEAD_BYTES).await?;
            }
        };
        let told = timeout(ANSWERING, talk).await.map_err(|_| self.too_slow("answer", ANSWERING))?;
        let (body, head) = told.map_err(|source| self.broken(source, String::new()))?;
        Ok(Answer { head, body, connection })
    }

    /// The next content of an answer's body, given to `take`. False at its end.
    pub(super) async fn read(
        &mut self,
        answer: &mut Answer,
        take: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, Error> {
        if answer.body.is_over() {
            return Ok(false);
        }
        let Answer { body, connection, .. } = answer;
        if connection.read.is_empty() {
            match connection.read_more(HEAD_BYTES).await {
                Err(error)
                    if error.kind() == ErrorKind::UnexpectedEof && matches!(body, Body::UntilClosed) =>
                {
                    return Ok(false);
                }
                read => read?,
            }
        }
        let taken = body.digest(&connection.read, take)?;
        connection.read.drain(..taken);
        Ok(true)
    }

    /// Keeps the connection of an answer that was read to its end, where the server does.
    pub(super) fn done_with(&mut self, answer: Answer) {
        if answer.head.persists() && answer.body.is_over() && answer.connection.read.is_empty() {
            self.idle = Some(answer.connection);
        }
    }

    fn request(&mut self) -> Result<String, HttpError> {
        let (target, host, version) = (self.at.target(), self.at.host_header(), env!("CARGO_PKG_VERSION"));
        let mut request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: portero/{version}\r\n\
             Accept: multipart/x-mixed-replace, image/jpeg, */*;q=0.1\r\n"
        );
        if let (Some(proof), Some(login)) = (&mut self.proof, &self.login) {
            let said = proof.show(login, target);
            let said = said.map_err(|why| HttpError::LoginUnknown {
                address: self.at.clone(),
                why: self.masker.mask(&why),
            })?;
            request.push_str(&format!("Authorization: {said}\r\n"));
        }
        Ok(request + "\r\n")
    }

    /// Takes up the challenge of a 401.
    fn prepare_proof(&mut self, head: &Head, tries: u32) -> Result<(), HttpError> {
        let address = || self.at.clone();
        if self.login.is_none() {
            return Err(HttpError::LoginWanted { address: address() });
        }
        let challenges: Vec<&str> = head.all("www-authenticate").collect();
        let proof = Proof::of(challenges.into_iter())
            .map_err(|why| HttpError::LoginUnknown { address: address(), why: self.masker.mask(&why) })?;
        // The first may be asked of a proof that served earlier pictures and has grown stale without a word.
        let is_worth_it = match tries {
            1 => self.proof.is_none() || proof.is_digest(),
            LAST_LOGIN => proof.is_stale(),
            _ => false,
        };
        if !is_worth_it {
            return Err(HttpError::LoginRefused { address: address() });
        }
        self.proof = Some(proof);
        Ok(())
    }

    fn follow(&mut self, head: &Head, redirects: u32) -> Result<(), HttpError> {
        let refuse = |why: String| Err(HttpError::Redirect { address: self.at.clone(), why });
        if redirects > MOST_REDIRECTS {
            return refuse(format!("more than {MOST_REDIRECTS} times"));
        }
        let Ok(there) = self.at.join(head.get("location").unwrap_or_default()) else {
            return refuse("to what is no url of a camera".to_owned());
        };
        // A camera may put anything into a path, what it has just been told as well.
        let shown = self.masker.mask(&there.to_string());
        if !there.same_host(&self.home) {
            return refuse(format!("to another host, {shown}: if that is right, write it as the url"));
        }
        if self.at.is_tls() && !there.is_tls() {
            return refuse(format!("away from TLS, to {shown}"));
        }
        if self.login.is_some() && !there.same_origin(&self.home) {
            return refuse(self.other_origin(&there, &shown));
        }
        if !there.same_origin(&self.at) {
            log::info!("{} redirects to {shown}, which is followed", self.at);
        }
        self.at = there;
        Ok(())
    }

    /// Why a login is not taken along to `there`.
    fn other_origin(&self, there: &Address, shown: &str) -> String {
        if there.is_tls() && !self.home.is_tls() {
            return format!("to TLS, {shown}: write the https url, the login is sent to nothing else");
        }
        format!(
            "to another port, {shown}, where the login is not sent: if that is right, write it as the url"
        )
    }

    fn too_slow(&self, what: &'static str, within: Duration) -> HttpError {
        HttpError::TooSlow { address: self.at.clone(), what, within }
    }

    /// The connection broke; `after` says after how much, with its blank.
    pub(super) fn broken(&self, source: Error, after: String) -> HttpError {
        HttpError::Broken { address: self.at.clone(), after, source }
    }
}

impl Connection {
    /// Reads what comes next, at most `most` bytes. An end is an error.
    async fn read_more(&mut self, most: usize) -> Result<(), Error> {
        self.read.reserve(most);
        let n = (&mut self.line).take(most as u64).read_buf(&mut self.read).await?;
        if n == 0 { Err(Error::new(ErrorKind::UnexpectedEof, "it closed the connection")) } else { Ok(()) }
    }
}
