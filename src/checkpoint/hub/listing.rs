//! What the hub says of a revision: which commit it is, and which files it has.

#![forbid(unsafe_code)]

use std::io::Read;

use serde::Deserialize;
use ureq::http::StatusCode;

use super::error::HubError;
use super::server::{Answer, Method, Server};
use super::{HubName, MAIN, is_inside};
use crate::checkpoint::error::Excerpt;
use crate::checkpoint::source::is_plain_name;

/// Some thousand files take one million bytes.
const LARGEST: u64 = 16 << 20;

pub(super) struct Listing {
    pub(super) commit: String,
    /// Paths within the repository.
    pub(super) files: Vec<String>,
}

#[derive(Deserialize)]
struct Told {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Listing {
    pub(super) fn ask(server: &Server, name: &HubName) -> Result<Self, HubError> {
        let wanted = if name.revision == MAIN { name.to_string() } else { format!("{name}@{}", name.revision) };
        let url = format!("{}/api/models/{name}/revision/{}", server.endpoint, encoded(&name.revision, ""));
        let answer = server.ask(&wanted, &url, Method::Get(0))?;
        let answer = answer.if_found(server, name, &wanted, "repository or revision")?;
        let mut text = Vec::new();
        let body = answer.response.into_body().into_reader();
        body.take(LARGEST + 1).read_to_end(&mut text).map_err(|source| HubError::Connection {
            wanted: wanted.clone(),
            host: server.endpoint.clone(),
            source: source.into(),
        })?;
        Self::of(&wanted, &text)
    }

    /// Checks the answer.
    fn of(wanted: &str, text: &[u8]) -> Result<Self, HubError> {
        if text.len() as u64 > LARGEST {
            return Err(HubError::answer(
                wanted,
                format!("a list of files in {LARGEST} bytes at most"),
                "a longer one",
            ));
        }
        let told: Told = serde_json::from_slice(text)
            .map_err(|error| HubError::answer(wanted, "a list of files in JSON", error.to_string()))?;
        if !is_plain_name(&told.sha) {
            return Err(HubError::answer(wanted, "the name of a commit", Excerpt(&told.sha).to_string()));
        }
        let mut files: Vec<_> = told.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        let leaves = |file: &&String| file.split(['/', '\\']).any(|part| matches!(part, "" | "." | ".."));
        if let Some(file) = files.iter().find(leaves) {
            return Err(HubError::answer(wanted, "names of files in the repository", Excerpt(file).to_string()));
        }
        // What else could not be a file here is none of a model.
        files.retain(|file| is_inside(file));
        Ok(Self { commit: told.sha, files })
    }
}

impl Answer {
    /// The answer, if it is one about what was asked for: `what`, where the server does not say what there is not.
    pub(super) fn if_found(
        self,
        server: &Server,
        name: &HubName,
        wanted: &str,
        what: &'static str,
    ) -> Result<Self, HubError> {
        let header = |header: &str| {
            let mut values = self.from_hub.iter().rev().chain([self.response.headers()]);
            values.find_map(|headers| headers.get(header)?.to_str().ok()).unwrap_or_default()
        };
        let (wanted, endpoint) = (wanted.to_owned(), server.endpoint.clone());
        let says = || match header("x-error-message") {
            "" => String::new(),
            message => format!(" ({})", Excerpt(message)),
        };
        match self.response.status() {
            status if status.is_success() || self.leaves => Ok(self),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let page = format!("{endpoint}/{name}");
                Err(HubError::Denied { wanted, status: status.as_u16(), says: says(), page })
            }
            StatusCode::NOT_FOUND => {
                let what = match header("x-error-code") {
                    "RepoNotFound" => "repository",
                    "RevisionNotFound" => "revision",
                    "EntryNotFound" => "file",
                    _ => what,
                };
                Err(HubError::Missing { wanted, what, endpoint, says: says() })
            }
            status => Err(HubError::Answer {
                wanted,
                expected: "200, \"OK\"".into(),
                found: format!("{status}{}", says()),
                may_pass: status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS,
            }),
        }
    }
}

/// Text as a part of an address, with the characters of `kept` as they are.
pub(super) fn encoded(text: &str, kept: &str) -> String {
    let mut address = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-_.~".contains(c) || kept.contains(c) {
            address.push(c);
        } else {
            address.push_str(&format!("%{byte:02X}"));
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_repository_are_listed() {
        let listing = |sha: &str, file: &str| {
            let text = serde_json::json!({"sha": sha, "siblings": [{"rfilename": "a/b.gguf"}, {"rfilename": file}]});
            Listing::of("Ann/sea", text.to_string().as_bytes()).map(|listing| listing.files.join(" "))
        };
        assert_eq!(listing("abc", "c.json").unwrap(), "a/b.gguf c.json");
        assert_eq!(listing("abc", "c:json").unwrap(), "a/b.gguf");
        for hostile in ["../x", "a/../../x", "/etc/passwd", "..\\x", "", "a//b", "./a"] {
            let error = listing("abc", hostile).unwrap_err().to_string();
            assert!(error.starts_with("Ann/sea: expected names of files in the repository, found "), "{error}");
        }
        assert!(listing("../abc", "c").unwrap_err().to_string().contains("expected the name of a commit"));
        for text in ["", "[]", "{\"sha\": 1}", "<html>"] {
            assert!(Listing::of("Ann/sea", text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_encoded() {
        assert_eq!(encoded("refs/pr/7", ""), "refs%2Fpr%2F7");
        assert_eq!(encoded("a/b c%é?.gguf", "/"), "a/b%20c%25%C3%A9%3F.gguf");
    }
}
