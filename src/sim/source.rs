//! What a simulated sensor measures.

use std::str::FromStr;

use serde::Deserialize;

/// The quantity behind an observation, in SI units, as `sim.toml` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Source {
    /// `x`: position in the world, in metres.
    X,
    /// `y`: position in the world, in metres.
    Y,
    /// `z`: height in the world, in metres.
    Z,
    /// `roll`: rotation about the body's forward axis, in radians within +-pi; yaw, pitch, roll are applied in this order.
    Roll,
    /// `pitch`: rotation about the body's left axis, nose down positive, in radians within +-pi/2.
    Pitch,
    /// `yaw`: heading, to the left positive, in radians within +-pi.
    Yaw,
    /// `forward_velocity`: horizontal velocity along the heading, in m/s.
    ForwardVelocity,
    /// `lateral_velocity`: horizontal velocity to the left of the heading, in m/s.
    LateralVelocity,
    /// `vertical_velocity`: upward velocity, in m/s.
    VerticalVelocity,
    /// `roll_rate`: a gyro's rate about the body's forward axis, in rad/s.
    RollRate,
    /// `pitch_rate`: a gyro's rate about the body's left axis, in rad/s.
    PitchRate,
    /// `yaw_rate`: a gyro's rate about the body's upward axis, in rad/s.
    YawRate,
    /// `joint_position:NAME`: a hinge's angle in radians, unwrapped, or a slide's position in metres.
    JointPosition(String),
    /// `joint_velocity:NAME`: a hinge's speed in rad/s, or a slide's in m/s.
    JointVelocity(String),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "x" => Self::X,
            "y" => Self::Y,
            "z" => Self::Z,
            "roll" => Self::Roll,
            "pitch" => Self::Pitch,
            "yaw" => Self::Yaw,
            "forward_velocity" => Self::ForwardVelocity,
            "lateral_velocity" => Self::LateralVelocity,
            "vertical_velocity" => Self::VerticalVelocity,
            "roll_rate" => Self::RollRate,
            "pitch_rate" => Self::PitchRate,
            "yaw_rate" => Self::YawRate,
            _ => match text.split_once(':') {
                Some(("joint_position", joint)) => Self::JointPosition(joint.into()),
                Some(("joint_velocity", joint)) => Self::JointVelocity(joint.into()),
                _ => return Err(unknown(text)),
            },
        })
    }
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn unknown(text: &str) -> String {
    format!(
        "unknown source `{text}`: known are x, y, z, roll, pitch, yaw, forward_velocity, lateral_velocity, vertical_velocity, \
         roll_rate, pitch_rate, yaw_rate, joint_position:NAME and joint_velocity:NAME"
    )
}
