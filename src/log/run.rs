//! The header of a log: everything that decided the run before its first tick.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::hash::{hex, sha256_hex};

/// What was run, on what, and with which inputs. With the log's ticks it is all that replay needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    /// Name of the robot.
    pub robot: String,
    /// Name of the update rule.
    pub rule: String,
    /// Seed of the planner's noise, and of the simulation if there is one.
    pub seed: u64,
    /// When the run began, nanoseconds since 1970-01-01 UTC.
    pub started_unix_ns: u64,
    /// Control period, microseconds.
    pub tick_period_us: u64,
    /// Version of Surefoot.
    pub surefoot_version: String,
    /// Version of ONNX Runtime as the library reports it.
    pub onnxruntime_version: String,
    /// Threads that evaluate candidate plans.
    pub threads: u32,
    /// The processor's name.
    pub cpu: String,
    /// Whatever else describes the run (terrain, change, course), by name.
    pub extra: BTreeMap<String, String>,
    /// The text of robot.toml.
    pub robot_toml: String,
    /// The bytes of model.onnx.
    pub model: Vec<u8>,
}

/// Key that holds the hash over all other pairs of a metadata record: MCAP itself does not protect them.
const SEAL: &str = "sha256";
/// Prefix of the names in [`Run::extra`] in the metadata record.
const EXTRA: &str = "extra.";

impl Run {
    /// SHA-256 of the model in lower-case hexadecimal.
    pub fn model_sha256(&self) -> String {
        sha256_hex(&self.model)
    }

    /// SHA-256 of robot.toml in lower-case hexadecimal.
    pub fn robot_toml_sha256(&self) -> String {
        sha256_hex(self.robot_toml.as_bytes())
    }

    /// The pairs of the metadata record `run`.
    pub(super) fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut pairs = BTreeMap::from(
            [
                ("robot", self.robot.clone()),
                ("rule", self.rule.clone()),
                ("seed", self.seed.to_string()),
                ("started_unix_ns", self.started_unix_ns.to_string()),
                ("tick_period_us", self.tick_period_us.to_string()),
                ("surefoot_version", self.surefoot_version.clone()),
                ("onnxruntime_version", self.onnxruntime_version.clone()),
                ("threads", self.threads.to_string()),
                ("cpu", self.cpu.clone()),
                ("robot_toml_sha256", self.robot_toml_sha256()),
                ("model_sha256", self.model_sha256()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        pairs.extend(
            self.extra
                .iter()
                .map(|(key, value)| (format!("{EXTRA}{key}"), value.clone())),
        );
        pairs
    }

    /// The run that [`to_metadata`](Self::to_metadata) described; `None` if a pair is missing, or an attachment does not match
    /// its hash.
    pub(super) fn from_metadata(
        pairs: &BTreeMap<String, String>,
        robot_toml: String,
        model: Vec<u8>,
    ) -> Option<Self> {
        let text = |key: &str| pairs.get(key).cloned();
        let number = |key: &str| pairs.get(key)?.parse::<u64>().ok();
        let run = Run {
            robot: text("robot")?,
            rule: text("rule")?,
            seed: number("seed")?,
            started_unix_ns: number("started_unix_ns")?,
            tick_period_us: number("tick_period_us")?,
            surefoot_version: text("surefoot_version")?,
            onnxruntime_version: text("onnxruntime_version")?,
            threads: number("threads")?.try_into().ok()?,
            cpu: text("cpu")?,
            extra: pairs
                .iter()
                .filter_map(|(key, value)| {
                    Some((key.strip_prefix(EXTRA)?.to_owned(), value.clone()))
                })
                .collect(),
            robot_toml,
            model,
        };
        let matches = run.robot_toml_sha256() == text("robot_toml_sha256")?
            && run.model_sha256() == text("model_sha256")?;
        matches.then_some(run)
    }
}

/// Adds the hash over all pairs.
pub(super) fn seal(mut pairs: BTreeMap<String, String>) -> BTreeMap<String, String> {
    pairs.insert(SEAL.to_owned(), hash_of_pairs(&pairs));
    pairs
}

/// The pairs without their hash; `None` if they do not match it.
pub(super) fn unseal(mut pairs: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    let seal = pairs.remove(SEAL)?;
    (seal == hash_of_pairs(&pairs)).then_some(pairs)
}

fn hash_of_pairs(pairs: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hex(&hash.finalize())
}
