//! What a good checkpoint gives, and what is said of one that has more than is used.

#[path = "../support/converted.rs"]
mod converted;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

mod converted_directory;
mod fixtures;
mod head;
mod names;
mod opening;
mod python;
mod unused;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use loquent::checkpoint::ModelConfig;
use serde_json::Value;

fn parse(config: &Value) -> ModelConfig {
    ModelConfig::from_json(Path::new("config.json"), &config.to_string()).unwrap()
}

/// What `work` logs on this thread.
fn logged(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let to = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || to.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}
