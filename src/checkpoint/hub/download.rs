//! One file: what the hub says about it, and its bytes, which are kept under another name until all have come.

#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use ureq::http::StatusCode;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap};

use super::HubName;
use super::error::HubError;
use super::listing::encoded;
use super::repository::{io, parent};
use super::server::{Method, Server};
use crate::checkpoint::error::Excerpt;
use crate::checkpoint::source::is_plain_name;

/// How much is read at once.
const CHUNK: usize = 1 << 18;

/// What is known of a file before it is fetched.
pub(super) struct Remote {
    /// The repository and the file.
    pub(super) wanted: String,
    pub(super) file: String,
    url: String,
    /// What the server calls its content: of large files the SHA-256.
    pub(super) etag: String,
    pub(super) size: u64,
}

impl Remote {
    /// Asks for it.
    pub(super) fn ask(server: &Server, name: &HubName, commit: &str, file: &str) -> Result<Self, HubError> {
        let wanted = format!("{name}: {file}");
        let url = format!("{}/{name}/resolve/{}/{}", server.endpoint, encoded(commit, ""), encoded(file, "/"));
        let answer = server.ask(&wanted, &url, Method::Head)?.if_found(server, name, &wanted, "file")?;
        let hub = &answer.from_hub;
        let of_hub = |header: &str| hub.iter().find_map(|headers| text(headers, header));
        if let Some(other) = of_hub("x-repo-commit").filter(|other| *other != commit) {
            return Err(HubError::answer(&wanted, format!("commit {commit}"), Excerpt(other).to_string()));
        }
        let etag =
            of_hub("x-linked-etag").or_else(|| hub.iter().rev().find_map(|headers| text(headers, ETAG.as_str())));
        let etag = etag.unwrap_or_default();
        let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
        if !is_plain_name(etag) {
            return Err(HubError::answer(&wanted, "an ETag that can be a file's name", Excerpt(etag).to_string()));
        }
        // The length of an answer that leads elsewhere is its own.
        let last = Some(answer.response.headers()).filter(|_| !answer.leaves);
        let size = of_hub("x-linked-size").or_else(|| text(last?, CONTENT_LENGTH.as_str())).unwrap_or_default();
        let Ok(size) = size.parse() else {
            return Err(HubError::answer(&wanted, "the file's size", Excerpt(size).to_string()));
        };
        let etag = etag.to_owned();
        Ok(Self { wanted, file: file.into(), url, etag, size })
    }

    /// Fetches what `partial` has not yet. `tell` is told how many bytes there are, and says whether to go on.
    pub(super) fn fetch(
        &self,
        server: &Server,
        name: &HubName,
        partial: &mut Partial<'_>,
        tell: &mut dyn FnMut(u64) -> Result<(), HubError>,
    ) -> Result<(), HubError> {
        if partial.length < self.size {
            self.append(server, name, partial, tell)?;
        }
        if partial.length != self.size {
            let found = format!("{} bytes", partial.length);
            if partial.length > self.size {
                partial.truncate()?;
            }
            let (wanted, expected) = (self.wanted.clone(), format!("{} bytes", self.size));
            return Err(HubError::Answer { wanted, expected, found, may_pass: true });
        }
        if let Some(found) =
            partial.hash.clone().map(|hash| hex(&hash.finalize())).filter(|hash| !hash.eq_ignore_ascii_case(&self.etag))
        {
            partial.truncate()?;
            return Err(HubError::answer(&self.wanted, format!("SHA-256 {}", self.etag), found));
        }
        Ok(())
    }

    fn append(
        &self,
        server: &Server,
        name: &HubName,
        partial: &mut Partial<'_>,
        tell: &mut dyn FnMut(u64) -> Result<(), HubError>,
    ) -> Result<(), HubError> {
        let answer = server.ask(&self.wanted, &self.url, Method::Get(partial.length))?;
        if answer.response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // What is there cannot be the beginning of it.
            partial.truncate()?;
        }
        let response = answer.if_found(server, name, &self.wanted, "file")?.response;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = text(response.headers(), CONTENT_RANGE.as_str()).unwrap_or_default();
            let expected = format!("bytes {}-", partial.length);
            if !range.starts_with(&expected) {
                let (expected, found) = (format!("{expected} of the file"), Excerpt(range).to_string());
                return Err(HubError::answer(&self.wanted, expected, found));
            }
        } else if partial.length > 0 {
            partial.truncate()?;
        }
        let mut body = response.into_body().into_reader();
        let mut chunk = vec![0; CHUNK];
        while partial.length <= self.size {
            tell(partial.length)?;
            match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => partial.append(&chunk[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let (wanted, host) = (self.wanted.clone(), server.endpoint.clone());
                    return Err(HubError::Connection { wanted, host, source: source.into() });
                }
            }
        }
        Ok(())
    }
}

/// What of a file has come, on disk.
pub(super) struct Partial<'a> {
    wanted: &'a str,
    path: PathBuf,
    file: File,
    length: u64,
    /// That of what has come, where the whole file's is known.
    hash: Option<Sha256>,
}

impl<'a> Partial<'a> {
    /// Opens what is at `path`, or creates it.
    pub(super) fn open(remote: &'a Remote, path: PathBuf) -> Result<Self, HubError> {
        let wanted = &remote.wanted;
        let opened = parent(&path).and_then(|()| OpenOptions::new().read(true).append(true).create(true).open(&path));
        let file = opened.map_err(io(wanted, &path, "open"))?;
        let is_sha256 = remote.etag.len() == 64 && remote.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut partial = Self { wanted, path, file, length: 0, hash: is_sha256.then(Sha256::new) };
        partial.read().map_err(io(wanted, &partial.path, "read"))?;
        if partial.length > remote.size {
            partial.truncate()?;
        }
        Ok(partial)
    }

    /// Looks at what is there.
    fn read(&mut self) -> io::Result<()> {
        self.length = self.file.metadata()?.len();
        let Some(hash) = &mut self.hash else { return Ok(()) };
        let mut chunk = vec![0; CHUNK];
        loop {
            match self.file.read(&mut chunk)? {
                0 => return Ok(()),
                read => hash.update(&chunk[..read]),
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(io(self.wanted, &self.path, "write"))?;
        self.length += bytes.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        Ok(())
    }

    /// Begins anew.
    fn truncate(&mut self) -> Result<(), HubError> {
        self.file.set_len(0).map_err(io(self.wanted, &self.path, "write"))?;
        self.length = 0;
        self.hash = self.hash.take().map(|_| Sha256::new());
        Ok(())
    }

    /// Gives it the name of what is whole, once it is on the disk.
    pub(super) fn finish(self, blob: PathBuf) -> Result<(), HubError> {
        let Self { wanted, path, file, .. } = self;
        file.sync_all().map_err(io(wanted, &path, "write"))?;
        drop(file);
        fs::rename(&path, &blob).map_err(io(wanted, &blob, "create"))
    }
}

fn text<'a>(headers: &'a HeaderMap, header: &str) -> Option<&'a str> {
    headers.get(header)?.to_str().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
