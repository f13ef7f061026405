//! Simulated robots and terrains that speak the wire protocol.

pub mod mujoco;
