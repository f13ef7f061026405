//! From an observation to the model state, and the ring of the last transitions.
