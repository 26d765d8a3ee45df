//! What a good checkpoint gives, and what is said of one that has more than is used.

#[path = "../support/converted.rs"]
mod converted;
#[path = "../support/damage.rs"]
mod damage;
#[path = "../support/logged.rs"]
mod logged;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

mod converted_directory;
mod families;
mod fixtures;
mod head;
mod mtp;
mod names;
mod opening;
mod python;
mod robustness;
mod unused;

use std::path::Path;

use logged::logged;
use loquent::checkpoint::ModelConfig;
use serde_json::Value;

fn parse(config: &Value) -> ModelConfig {
    ModelConfig::from_json(Path::new("config.json"), &config.to_string()).unwrap()
}
