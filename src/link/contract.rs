//! What a robot must be for a model to drive it.

use surefoot_wire::contract_hash;

/// The robot that is expected on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Its name.
    pub robot: String,
    /// Its tick period, us.
    pub period_us: u32,
    /// Name and unit of each observation channel, in order.
    pub observation: Vec<(String, String)>,
    /// Name and unit of each action channel, in order.
    pub action: Vec<(String, String)>,
}

impl Contract {
    /// The hash that the robot must have too.
    #[must_use]
    pub fn hash(&self) -> u64 {
        contract_hash(
            self.period_us,
            pairs(&self.observation),
            pairs(&self.action),
        )
    }
}

fn pairs(channels: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    channels
        .iter()
        .map(|(name, unit)| (name.as_str(), unit.as_str()))
}
