//! What `generate` writes: text or JSON lines on stdout as tokens come, and files that appear whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use loquent::prelude::*;
use serde_json::json;
use tempfile::NamedTempFile;

/// How tokens are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The text.
    Text,
    /// Ids separated by spaces, where there is no tokenizer.
    Ids,
    /// A JSON object a line.
    Json,
}

/// Stdout, flushed token by token.
pub(super) struct Output {
    form: Form,
    /// What the text continues, until it is written.
    prompt: String,
    out: io::Stdout,
}

impl Output {
    /// In text, `prompt` comes before what continues it, once there is something and no progress bar in the way.
    pub(super) fn new(form: Form, prompt: String) -> Self {
        Self { form, prompt, out: io::stdout() }
    }

    pub(super) fn token(&mut self, token: &TokenGenerated) -> io::Result<()> {
        let TokenGenerated { index, id, text, .. } = token;
        match self.form {
            Form::Text => self.continue_prompt(text),
            Form::Ids if *index == 0 => self.write(&id.to_string()),
            Form::Ids => self.write(&format!(" {id}")),
            Form::Json => {
                let line = json!({"event": "token", "index": index, "id": id, "text": text});
                self.write(&format!("{line}\n"))
            }
        }
    }

    /// The text that was held back until the end, and what there is to say about it all.
    pub(super) fn done(&mut self, rest: &str, mut summary: serde_json::Value) -> io::Result<()> {
        match self.form {
            Form::Text => self.continue_prompt(&format!("{rest}\n")),
            Form::Ids => self.write("\n"),
            Form::Json => {
                summary["text"] = rest.into();
                self.write(&format!("{summary}\n"))
            }
        }
    }

    fn continue_prompt(&mut self, text: &str) -> io::Result<()> {
        let prompt = std::mem::take(&mut self.prompt);
        self.write(&format!("{prompt}{text}"))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let mut out = self.out.lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// A file that gets its name only once it is complete. Made before any work, so that a wrong path is an error at once.
pub(super) struct PendingFile {
    path: PathBuf,
    file: Pending,
}

enum Pending {
    /// Beside its place, under another name.
    Temporary(NamedTempFile),
    /// A pipe or a device, which must stay what it is.
    InPlace(File),
}

impl PendingFile {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let say = || format!("cannot write {}", path.display());
        anyhow::ensure!(!path.is_dir(), "{}: it is a directory", say());
        let file = if path.exists() && !path.is_file() {
            Pending::InPlace(File::options().write(true).open(path).with_context(say)?)
        } else {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Pending::Temporary(with_usual_permissions().tempfile_in(folder).with_context(say)?)
        };
        Ok(Self { path: path.to_owned(), file })
    }

    pub(super) fn write(self, bytes: &[u8]) -> anyhow::Result<()> {
        let say = || format!("cannot write {}", self.path.display());
        match self.file {
            Pending::InPlace(mut file) => file.write_all(bytes).with_context(say),
            Pending::Temporary(mut file) => {
                file.write_all(bytes).with_context(say)?;
                file.persist(&self.path).map_err(|error| error.error).with_context(say)?;
                Ok(())
            }
        }
    }
}

/// A temporary file is private unless told otherwise; this one is to become an ordinary file.
fn with_usual_permissions() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
}
