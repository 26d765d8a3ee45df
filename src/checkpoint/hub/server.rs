//! Requests to the hub, and to where it sends us. Redirects are followed here and not by the client, because the hub says what a file
//! is in the answer that leads elsewhere, and because the token is for the hub alone.

#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::time::Duration;

use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, LOCATION, RANGE};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use super::error::HubError;
use super::{hub_home, set};
use crate::checkpoint::error::Excerpt;

const USUAL_ENDPOINT: &str = "https://huggingface.co";
const PATIENCE: Duration = Duration::from_secs(30);
/// As browsers do, roughly.
const MOST_REDIRECTS: usize = 10;

/// The hub, or what stands in for it.
pub(super) struct Server {
    agent: Agent,
    /// With no slash at the end.
    pub(super) endpoint: String,
    token: Option<String>,
}

/// How a file is asked for.
#[derive(Clone, Copy)]
pub(super) enum Method {
    /// All of it from this byte on.
    Get(u64),
    /// What the hub says about it, and nothing of it. Addresses elsewhere are signed for those who want the file.
    Head,
}

/// The last answer, and what the hub said on the way to it.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    /// Whether it leads on to where the hub keeps the file.
    pub(super) leaves: bool,
    /// Headers of the hub's own answers, the first first.
    pub(super) from_hub: Vec<HeaderMap>,
}

impl Server {
    /// By the variables that the hub's programs go by: `HF_ENDPOINT`; `HF_TOKEN`, or the file `HF_TOKEN_PATH`, or `token` in
    /// `HF_HOME`.
    pub(super) fn of_environment() -> Result<Self, HubError> {
        let endpoint = env::var("HF_ENDPOINT").ok().filter(|value| !value.is_empty());
        let endpoint = endpoint.as_deref().unwrap_or(USUAL_ENDPOINT).trim_end_matches('/').to_owned();
        let is_https = endpoint.starts_with("https://");
        if !is_https && !endpoint.starts_with("http://") {
            let (name, expected) = ("HF_ENDPOINT".into(), "an address that begins with https:// or http://");
            return Err(HubError::Setting { name, expected, found: Excerpt(&endpoint).to_string() });
        }
        let config = Agent::config_builder()
            .user_agent(concat!("loquent/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .https_only(is_https)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE));
        Ok(Self { agent: config.build().into(), endpoint, token: token()? })
    }

    /// Asks, wherever that leads. `wanted` is what messages call it. Whatever the status is, it is an answer.
    pub(super) fn ask(&self, wanted: &str, url: &str, method: Method) -> Result<Answer, HubError> {
        let mut url = url.to_owned();
        let mut from_hub = Vec::new();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.ask_once(&url, method).map_err(|source| HubError::Connection {
                wanted: wanted.into(),
                host: origin(&url).into(),
                source: source.into(),
            })?;
            if self.is_hub(&url) {
                from_hub.push(response.headers().clone());
            }
            let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
            let Some(location) = location else {
                return Ok(Answer { response, leaves: false, from_hub });
            };
            let location = location.to_str().ok().and_then(|location| join(&url, location));
            url = location.ok_or_else(|| HubError::answer(wanted, "a redirect to an address", "to something else"))?;
            if matches!(method, Method::Head) && !self.is_hub(&url) {
                return Ok(Answer { response, leaves: true, from_hub });
            }
        }
        Err(HubError::answer(wanted, format!("{MOST_REDIRECTS} redirects at most"), "more"))
    }

    fn ask_once(&self, url: &str, method: Method) -> Result<Response<Body>, ureq::Error> {
        let mut request = match method {
            Method::Get(_) => self.agent.get(url),
            Method::Head => self.agent.head(url),
        };
        // Lengths are those of the files.
        request = request.header(ACCEPT_ENCODING, "identity");
        if let Method::Get(from @ 1..) = method {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        if let Some(token) = self.token.as_ref().filter(|_| self.is_hub(url)) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.call()
    }

    /// Whether it is the hub itself that is asked: the same scheme, host and port.
    fn is_hub(&self, url: &str) -> bool {
        origin(url) == origin(&self.endpoint)
    }
}

/// What the address begins with: scheme, host and port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + "://".len());
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |end| host + end);
    &url[..end]
}

/// Where `location` leads from `url`; `None` if that is no page of the web.
fn join(url: &str, location: &str) -> Option<String> {
    let location = location.split('#').next()?;
    let origin = origin(url);
    if location.starts_with("https://") || location.starts_with("http://") {
        return Some(location.to_owned());
    }
    if let Some(host) = location.strip_prefix("//") {
        return Some(format!("{}//{host}", origin.split_once("//")?.0));
    }
    if location.starts_with('/') {
        return Some(format!("{origin}{location}"));
    }
    let is_scheme = location.split_once(':').is_some_and(|(scheme, _)| !scheme.contains(['/', '?']));
    let path = url[origin.len()..].split('?').next()?;
    let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
    (!is_scheme && !location.is_empty()).then(|| format!("{origin}{folder}{location}"))
}

/// Who asks.
fn token() -> Result<Option<String>, HubError> {
    const VARIABLE: &str = "HF_TOKEN";
    let (name, token) = match env::var(VARIABLE).ok().filter(|token| !token.trim().is_empty()) {
        Some(token) => (VARIABLE.to_owned(), token),
        None => {
            let file = set("HF_TOKEN_PATH").or_else(|| Some(hub_home()?.join("token")));
            let Some((file, token)) = file.and_then(|file| Some((file.clone(), fs::read_to_string(&file).ok()?)))
            else {
                return Ok(None);
            };
            (file.display().to_string(), token)
        }
    };
    let token = token.trim();
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        // It is a secret: it is not shown.
        let found = "something else".into();
        return Err(HubError::Setting { name, expected: "a token, which is letters and digits", found });
    }
    Ok(Some(token.to_owned()).filter(|token| !token.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_browsers_would_go() {
        let from = "https://hub.example:8443/a/b?c=/d";
        let expected = [
            ("https://cdn.example/x?y=z", Some("https://cdn.example/x?y=z")),
            ("/x/y", Some("https://hub.example:8443/x/y")),
            ("//cdn.example/x", Some("https://cdn.example/x")),
            ("x?y=a:b", Some("https://hub.example:8443/a/x?y=a:b")),
            ("/x#y", Some("https://hub.example:8443/x")),
            ("file:///etc/passwd", None),
            ("", None),
        ];
        for (location, url) in expected {
            assert_eq!(join(from, location).as_deref(), url, "{location}");
        }
        assert_eq!(origin("http://hub.example?x"), "http://hub.example");
        assert_eq!(join("http://hub.example", "x").as_deref(), Some("http://hub.example/x"));
    }
}
