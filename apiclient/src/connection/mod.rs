//! The way to a server over the wire, with credentials that are read again when they may have changed.
//!
//! Owns: the pool of connections, TLS, proxies, and when files and plugins are asked again: before a request where the
//! last look is [`RECHECK`] ago, and at once where the server refused us or could not be reached.
//! Never: gives up what worked. Files that are being replaced make no sense for a moment; the old content counts then.

mod connector;
mod tls;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Mutex;

use crate::config::{Access, AccessError, Credential, Identity, Plugin, Settings, User};
use crate::resource::escape;
use crate::transport::{Pending, Request, Response, Transport};
use crate::{Failure, chain};
use connector::{Connector, Route};

/// Longest wait for the head of an answer, connecting included, where nobody wants another.
const ANSWER: Duration = Duration::from_secs(15);

/// Between two looks at the files where nothing failed.
const RECHECK: Duration = Duration::from_secs(10);

/// Between two looks where something fails all the time.
const REOPEN: Duration = Duration::from_secs(1);

/// A connection that nobody uses is closed after this time, sooner than servers do it.
const IDLE: Duration = Duration::from_secs(60);

const AGENT: &str = concat!("weft/", env!("CARGO_PKG_VERSION"));

type Http = legacy::Client<Connector, Full<Bytes>>;

/// A server over the wire.
pub struct Remote {
    access: Access,
    /// The credentials are left out: somebody else adds their own to each request.
    without_user: bool,
    /// For messages.
    server: RwLock<String>,
    state: Mutex<State>,
    /// The longest wait for the head of an answer.
    limit: Duration,
}

struct State {
    settings: Settings,
    /// When the files were read.
    read: Instant,
    /// Something failed since.
    doubt: bool,
    answer: Option<(Plugin, Credential, Instant)>,
    session: Option<Arc<Session>>,
    /// What was said about files that make no sense.
    said: String,
}

/// Connections and headers, as long as nothing is rotated.
struct Session {
    settings: Settings,
    credential: Credential,
    http: Http,
    headers: HeaderMap,
}

impl Remote {
    /// # Errors
    /// Files that cannot be read or make no sense now.
    pub fn open(access: Access) -> Result<Self, AccessError> {
        Self::open_as(access, false)
    }

    /// The same without the credentials that `access` names.
    ///
    /// # Errors
    /// As [`Remote::open`].
    pub fn open_without_user(access: Access) -> Result<Self, AccessError> {
        Self::open_as(access, true)
    }

    fn open_as(access: Access, without_user: bool) -> Result<Self, AccessError> {
        let settings = read(&access, without_user)?;
        let server = RwLock::new(settings.server.to_string());
        let state = State {
            session: None,
            read: Instant::now(),
            doubt: false,
            answer: None,
            said: String::new(),
            settings,
        };
        if !matches!(state.settings.user, User::Plugin(_)) {
            Session::new(&state.settings, &Credential::default(), None)?;
        }
        Ok(Self { access, without_user, server, state: Mutex::new(state), limit: ANSWER })
    }

    /// Waits this long for the head of an answer, connecting included.
    #[must_use]
    pub fn answering_within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// What to send a request with. `refused`: the server did not take the credentials that we had.
    async fn session(&self, refused: bool) -> Result<Arc<Session>, Failure> {
        let mut state = self.state.lock().await;
        let patience = if refused || state.doubt { REOPEN } else { RECHECK };
        if state.session.is_none() || state.read.elapsed() >= patience {
            self.look(&mut state).await;
        }
        let credential = credential(&mut state, refused).await?;
        if let Some(session) = &state.session
            && session.settings == state.settings
            && session.credential == credential
        {
            return Ok(session.clone());
        }
        match Session::new(&state.settings, &credential, state.session.as_deref()) {
            Ok(session) => {
                let session = Arc::new(session);
                state.session = Some(session.clone());
                Ok(session)
            }
            Err(error) => match state.session.clone() {
                // A certificate and its key are rarely replaced in one moment.
                Some(session) => {
                    complain(&mut state.said, &error.to_string());
                    Ok(session)
                }
                None => Err(Failure::Away(error.to_string())),
            },
        }
    }

    /// Reads the files again.
    async fn look(&self, state: &mut State) {
        let (access, without_user) = (self.access.clone(), self.without_user);
        let found = tokio::task::spawn_blocking(move || read(&access, without_user)).await;
        state.read = Instant::now();
        state.doubt = false;
        match found {
            Ok(Ok(settings)) => {
                if settings != state.settings {
                    tracing::info!(server = %settings.server, "credentials or connection settings have changed and were read again");
                    *self.server.write().unwrap_or_else(PoisonError::into_inner) =
                        settings.server.to_string();
                    state.settings = settings;
                }
                state.said.clear();
            }
            Ok(Err(error)) => complain(&mut state.said, &error.to_string()),
            Err(error) => complain(&mut state.said, &error.to_string()),
        }
    }

    async fn exchange(&self, mut request: Request) -> Result<Response, Failure> {
        let session = self.session(false).await?;
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = whole(&session.settings.server, path.as_ref())
            .map_err(|error| Failure::Garbled(format!("no URL for this request: {error}")))?;
        for (name, value) in &session.headers {
            request.headers_mut().append(name, value.clone());
        }
        let answer = tokio::time::timeout(self.limit, session.http.request(request.map(Full::new))).await;
        let failure = match answer {
            Ok(Ok(answer)) => return Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync())),
            Ok(Err(error)) => Failure::Away(chain(&error)),
            Err(_) => Failure::Away(format!("no answer within {:?}", self.limit)),
        };
        // A new certificate of the server may want a new authority.
        self.state.lock().await.doubt = true;
        Err(failure)
    }

    /// Whether another session is there, after the server refused us.
    async fn another(&self) -> bool {
        let before = self.state.lock().await.session.clone();
        let Ok(after) = self.session(true).await else { return false };
        before.is_none_or(|before| !Arc::ptr_eq(&before, &after))
    }
}

impl Transport for Remote {
    fn send(&self, request: Request) -> Pending<'_, Result<Response, Failure>> {
        Box::pin(self.exchange(request))
    }

    fn renew(&self) -> Pending<'_, bool> {
        Box::pin(self.another())
    }

    fn server(&self) -> String {
        self.server.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(access: &Access, without_user: bool) -> Result<Settings, AccessError> {
    let settings = access.read()?;
    Ok(if without_user { settings.without_user() } else { settings })
}

fn complain(said: &mut String, problem: &str) {
    if said != problem {
        tracing::warn!(problem, "credentials cannot be read again; the old ones stay in use");
        problem.clone_into(said);
    }
}

/// What the plugin says, if there is one. It is asked again when its answer has run out, or was refused.
async fn credential(state: &mut State, refused: bool) -> Result<Credential, Failure> {
    let User::Plugin(plugin) = &state.settings.user else { return Ok(Credential::default()) };
    if let Some((asked, credential, at)) = &state.answer
        && *asked == **plugin
        && credential.is_good(SystemTime::now())
        && !(refused && at.elapsed() >= REOPEN)
    {
        return Ok(credential.clone());
    }
    let credential = plugin.ask().await.map_err(|error| Failure::Away(format!("no credentials: {error}")))?;
    state.answer = Some(((**plugin).clone(), credential.clone(), Instant::now()));
    Ok(credential)
}

impl Session {
    /// Connections of an `old` session go on where only a token has changed.
    fn new(settings: &Settings, credential: &Credential, old: Option<&Session>) -> Result<Self, AccessError> {
        let identity = credential.identity.as_ref().or(settings.tls.client.as_ref());
        let same = |old: &&Session| {
            old.settings.server == settings.server
                && old.settings.tls == settings.tls
                && old.settings.proxy == settings.proxy
                && old.credential.identity == credential.identity
        };
        let route = route(settings);
        let mut headers = headers(settings, credential)?;
        if let Route::Forward { auth: Some(auth), .. } = &route {
            headers.insert(PROXY_AUTHORIZATION, auth.clone());
        }
        let http = match old.filter(same) {
            Some(old) => old.http.clone(),
            None => client(settings, identity, route)?,
        };
        Ok(Self { settings: settings.clone(), credential: credential.clone(), http, headers })
    }
}

fn client(settings: &Settings, identity: Option<&Identity>, route: Route) -> Result<Http, AccessError> {
    let connector = Connector::new(settings, identity, route)?;
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
    Ok(builder.build(connector))
}

/// The kubeconfig's proxy, else that of the environment (`HTTPS_PROXY`, `NO_PROXY`), as for client-go.
fn route(settings: &Settings) -> Route {
    let plain = settings.server.scheme() == Some(&Scheme::HTTP);
    let found = match &settings.proxy {
        Some(proxy) => Matcher::builder().all(proxy.to_string()).build().intercept(&settings.server),
        None if is_here(&settings.server) => None,
        None => Matcher::from_env().intercept(&settings.server),
    };
    let Some(found) = found else { return Route::Direct };
    let proxy = found.uri().clone();
    if proxy.scheme_str().is_some_and(|scheme| scheme.starts_with("socks")) {
        let auth = found.raw_auth().map(|(name, password)| (name.to_owned(), password.to_owned()));
        return Route::Socks { proxy, auth };
    }
    let auth = found.basic_auth().cloned();
    if plain { Route::Forward { proxy, auth } } else { Route::Tunnel { proxy, auth } }
}

/// As in Go, no proxy of the environment is asked for this host itself.
fn is_here(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn headers(settings: &Settings, credential: &Credential) -> Result<HeaderMap, AccessError> {
    let mut headers = HeaderMap::new();
    let value = |what: &str, text: &str, secret: bool| {
        let mut value = HeaderValue::from_str(text)
            .map_err(|_| AccessError::credentials(what, "it holds characters that no header may have"))?;
        value.set_sensitive(secret);
        Ok::<_, AccessError>(value)
    };
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let token = match &settings.user {
        User::Token(token) => Some(token),
        User::Basic { name, password } => {
            let pair = STANDARD.encode(format!("{name}:{password}"));
            headers.insert(AUTHORIZATION, value("the password", &format!("Basic {pair}"), true)?);
            None
        }
        User::Plugin(_) => credential.token.as_ref(),
        User::Anonymous => None,
    };
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, value("the token", &format!("Bearer {token}"), true)?);
    }
    let act = &settings.impersonate;
    let named = |name: &'static str| HeaderName::from_static(name);
    if let Some(user) = &act.user {
        headers.insert(named("impersonate-user"), value("as", user, false)?);
    }
    if let Some(uid) = &act.uid {
        headers.insert(named("impersonate-uid"), value("as-uid", uid, false)?);
    }
    for group in &act.groups {
        headers.append(named("impersonate-group"), value("as-groups", group, false)?);
    }
    for (key, text) in &act.extra {
        let name = format!("impersonate-extra-{}", escape(&key.to_lowercase()));
        let name =
            HeaderName::try_from(name).map_err(|error| AccessError::credentials("as-user-extra", error))?;
        headers.append(name, value("as-user-extra", text, false)?);
    }
    Ok(headers)
}

/// The server's address, its own path, and the request's. A request for `/` is for the address itself.
fn whole(server: &Uri, path: Option<&PathAndQuery>) -> Result<Uri, http::Error> {
    let path = path.map_or("/", PathAndQuery::as_str);
    let base = server.path().trim_end_matches('/');
    let path = if path == "/" && !base.is_empty() { "" } else { path };
    let mut parts = server.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{base}{path}"))?);
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_server_stands_before_each_request() {
        let of = |server: &'static str, path: &'static str| {
            let path = PathAndQuery::from_static(path);
            whole(&Uri::from_static(server), Some(&path)).expect("a URL").to_string()
        };
        assert_eq!(of("https://a:6443", "/api/v1/nodes?limit=1"), "https://a:6443/api/v1/nodes?limit=1");
        assert_eq!(of("https://[fd00::1]/k8s/clusters/c/", "/api"), "https://[fd00::1]/k8s/clusters/c/api");
        assert_eq!(of("https://a/authorize", "/"), "https://a/authorize");
        assert_eq!(of("https://a", "/"), "https://a/");
    }

    #[test]
    fn whoever_acts_for_another_says_so_in_headers() {
        let mut settings = Settings::anonymous(Uri::from_static("https://a"));
        settings.user = User::Basic { name: "me".to_owned(), password: "pw".to_owned() };
        settings.impersonate.user = Some("you".to_owned());
        settings.impersonate.groups = vec!["g".to_owned(), "h".to_owned()];
        settings.impersonate.extra = vec![("Example.com/Scope".to_owned(), "x".to_owned())];
        let headers = headers(&settings, &Credential::default()).expect("headers");
        assert_eq!(headers["authorization"], "Basic bWU6cHc=");
        assert_eq!(headers["impersonate-user"], "you");
        assert_eq!(headers.get_all("impersonate-group").iter().count(), 2);
        assert_eq!(headers["impersonate-extra-example.com%2fscope"], "x");
    }
}
