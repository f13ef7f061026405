//! Where each measured quantity is in MuJoCo's state.

use super::mjcf::{self, JointKind};
use super::mujoco::{Model, Object, Part};
use super::{Error, Source};

/// The robot's true position and orientation in the world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// The position, in metres.
    pub position: [f64; 3],
    /// The rotation about the forward, left and upward axis, in radians; applied in the order yaw, pitch, roll.
    pub roll_pitch_yaw: [f64; 3],
}

impl Pose {
    /// The pose of the free joint that the generalised positions begin with: a position and a unit quaternion, scalar first.
    pub(super) fn of(positions: &[f64]) -> Self {
        let [px, py, pz, w, x, y, z] = std::array::from_fn(|i| positions[i]);
        let roll = (2.0 * (w * x + y * z)).atan2(1.0 - 2.0 * (x * x + y * y));
        let pitch = (2.0 * (w * y - z * x)).clamp(-1.0, 1.0).asin();
        let yaw = (2.0 * (w * z + x * y)).atan2(1.0 - 2.0 * (y * y + z * z));
        Self {
            position: [px, py, pz],
            roll_pitch_yaw: [roll, pitch, yaw],
        }
    }
}

/// A measured quantity, found in the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    /// A generalised position.
    Position(usize),
    /// Roll, pitch or yaw.
    Angle(usize),
    /// Velocity along (0) or to the left of (1) the heading.
    HeadingVelocity(usize),
    /// A generalised velocity; a free joint's are linear in the world, then angular in the body.
    Velocity(usize),
}

impl Quantity {
    /// The true value.
    pub fn value(self, pose: &Pose, positions: &[f64], velocities: &[f64]) -> f64 {
        match self {
            Self::Position(index) => positions[index],
            Self::Angle(index) => pose.roll_pitch_yaw[index],
            Self::HeadingVelocity(axis) => {
                let (sin, cos) = pose.roll_pitch_yaw[2].sin_cos();
                let (vx, vy) = (velocities[0], velocities[1]);
                if axis == 0 {
                    cos * vx + sin * vy
                } else {
                    cos * vy - sin * vx
                }
            }
            Self::Velocity(index) => velocities[index],
        }
    }
}

/// Where each joint's position and velocity begin in the state.
pub(super) struct Layout {
    joints: Vec<(mjcf::Joint, usize, usize)>,
}

impl Layout {
    /// Lays out the joints that the scene's text lists, and checks them against the compiled model.
    ///
    /// # Errors
    ///
    /// [`Error::Xml`], [`Error::NoFreeJoint`] or [`Error::JointOrder`].
    pub fn new(mjcf: &str, model: &Model) -> Result<Self, Error> {
        let (mut position, mut velocity) = (0, 0);
        let mut joints = Vec::new();
        for joint in mjcf::joints(mjcf)? {
            let (positions, velocities) = joint.kind.sizes();
            joints.push((joint, position, velocity));
            position += positions;
            velocity += velocities;
        }
        let in_order = joints.iter().enumerate().all(|(index, (joint, ..))| {
            joint
                .name
                .as_ref()
                .is_none_or(|name| model.index(Object::Joint, name) == Some(index))
        });
        if !in_order
            || position != model.size(Part::Positions)
            || velocity != model.size(Part::Velocities)
        {
            return Err(Error::JointOrder);
        }
        match joints.first() {
            Some((joint, ..)) if joint.kind == JointKind::Free => Ok(Self { joints }),
            _ => Err(Error::NoFreeJoint),
        }
    }

    /// Finds what an observation measures.
    ///
    /// # Errors
    ///
    /// [`Error::NoObject`] where the observation names a joint that is absent or is not a hinge or a slide.
    pub fn find(&self, source: &Source, observation: &str) -> Result<Quantity, Error> {
        let joint = |name: &str| {
            let named = |joint: &mjcf::Joint| {
                joint.name.as_deref() == Some(name) && joint.kind == JointKind::Scalar
            };
            let found = self
                .joints
                .iter()
                .find(|(joint, ..)| named(joint))
                .map(|(_, p, v)| (*p, *v));
            found.ok_or_else(|| Error::NoObject {
                user: observation.into(),
                kind: "hinge or slide",
                name: name.into(),
            })
        };
        Ok(match source {
            Source::X => Quantity::Position(0),
            Source::Y => Quantity::Position(1),
            Source::Z => Quantity::Position(2),
            Source::Roll => Quantity::Angle(0),
            Source::Pitch => Quantity::Angle(1),
            Source::Yaw => Quantity::Angle(2),
            Source::ForwardVelocity => Quantity::HeadingVelocity(0),
            Source::LateralVelocity => Quantity::HeadingVelocity(1),
            Source::VerticalVelocity => Quantity::Velocity(2),
            Source::RollRate => Quantity::Velocity(3),
            Source::PitchRate => Quantity::Velocity(4),
            Source::YawRate => Quantity::Velocity(5),
            Source::JointPosition(name) => Quantity::Position(joint(name)?.0),
            Source::JointVelocity(name) => Quantity::Velocity(joint(name)?.1),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use super::*;

    /// A body at the origin, turned by `angle` about a unit axis.
    fn turned(axis: [f64; 3], angle: f64) -> Pose {
        let (sin, cos) = (angle / 2.0).sin_cos();
        Pose::of(&[
            0.0,
            0.0,
            0.0,
            cos,
            axis[0] * sin,
            axis[1] * sin,
            axis[2] * sin,
        ])
    }

    #[test]
    fn each_axis_turns_its_own_angle() {
        for axis in 0..3 {
            for angle in [-1.2, 0.3] {
                let mut unit = [0.0; 3];
                unit[axis] = 1.0;
                let angles = turned(unit, angle).roll_pitch_yaw;
                for (index, value) in angles.into_iter().enumerate() {
                    let expected = if index == axis { angle } else { 0.0 };
                    assert!((value - expected).abs() < 1e-12, "{angles:?}");
                }
            }
        }
    }

    #[test]
    fn velocities_are_those_of_the_heading() {
        // Heading along +y, moving along +x: that is to the right.
        let pose = turned([0.0, 0.0, 1.0], FRAC_PI_2);
        let velocities = [2.0, 0.5, 0.1, 0.0, 0.0, 0.0];
        let measure = |axis| Quantity::HeadingVelocity(axis).value(&pose, &[], &velocities);
        assert!((measure(0) - 0.5).abs() < 1e-12);
        assert!((measure(1) + 2.0).abs() < 1e-12);
    }
}
