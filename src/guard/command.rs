//! The one kind of command that may go on the wire.

/// Actions that passed the guard. It cannot be made anywhere else: what is sent is safe by its type.
#[derive(Debug, Clone, PartialEq)]
pub struct SafeCommand {
    actions: Vec<f32>,
    channels: usize,
    lifetime_ms: u16,
}

impl SafeCommand {
    pub(in crate::guard) fn new(actions: Vec<f32>, channels: usize, lifetime_ms: u16) -> Self {
        Self {
            actions,
            channels,
            lifetime_ms,
        }
    }

    /// The actions (future, A), row-major, spaced one tick; the first applies at once.
    pub fn actions(&self) -> &[f32] {
        &self.actions
    }

    /// The action that applies at once (A).
    pub fn first(&self) -> &[f32] {
        &self.actions[..self.channels]
    }

    /// How long the microcontroller may act on it, ms.
    pub fn lifetime_ms(&self) -> u16 {
        self.lifetime_ms
    }
}
