//! observe -> adapt -> plan -> guard: one step of the loop, and the only place that composes them.
//!
//! [`Tick::step`] is a function of what it is given: the observation with its time, the seed, and how much to do. It
//! reads no clock and no port. `run`, `replay`, `demo` and the hardware-in-the-loop tests all call this one function, so a
//! log of its inputs is enough to compute every output again, bit for bit.

use crate::adapt::{Adapter, Effort};
use crate::guard::{Guard, SafeCommand};
use crate::log::schema;
use crate::log::schema::Degradation;
use crate::model::{Clock, DynamicsModel, ModelError, Pose, Runtime};
use crate::plan::{Path, Planner, Task, Tracker};
use crate::robot::Robot;
use crate::state::{Encoder, Window};

/// Ticks in a row without a new plan, for want of a state or of a finite cost, after which the safe state is commanded.
const LOST_TICKS: u32 = 3;

/// The loop's state between ticks.
pub struct Tick {
    encoder: Encoder,
    window: Window,
    adapter: Adapter,
    tracker: Tracker,
    planner: Planner,
    guard: Guard,
    pose: Pose,
    /// Distance along the path in a tick at the wanted speed, m.
    spacing_m: f64,
    state: Vec<f32>,
    previous_action: Vec<f32>,
    reference: Vec<f32>,
    future: usize,
    lost: u32,
    previous_state: Vec<f32>,
    clock: Clock,
}

/// What a tick is given.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Number of the tick, from 0.
    pub tick: u64,
    /// The robot's clock when it was sampled, us.
    pub robot_time_us: u64,
    /// Whether the robot is armed: only then do its transitions teach anything.
    pub armed: bool,
    /// The telemetry channels, in robot.toml's order.
    pub values: &'a [f32],
    /// The action that the robot applied over the period that just ended (A).
    pub applied: &'a [f32],
}

/// What a tick gives.
pub struct Outcome {
    /// The command to send.
    pub command: SafeCommand,
    /// The tick's record; its `command_seq`, `robot_mode` and `monotonic_ns` are for the caller to fill in.
    pub record: schema::Tick,
    /// The plan behind it: a new one, or the last one shifted by a tick (without states).
    pub plan: schema::Plan,
    /// A failure of ONNX Runtime, which the tick has already met by falling back.
    pub fault: Option<ModelError>,
    /// Why no new plan could be made, where the caller did not ask for that.
    pub lost: Option<Lost>,
}

/// Why a tick could not make a new plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// An observation that the model needs is not finite, or no angle; its index.
    Unknown(usize),
    /// The robot is driven, but its whole state repeats the one before to the bit: its sensors stand still.
    Frozen,
    /// No candidate has a finite cost, or ONNX Runtime fails.
    NoPlan,
}

impl Tick {
    /// Derives every graph of a model for a robot and gets ready for the first observation. `seed` is the run's. `clock`
    /// tells the time in ns for the record's timing; it decides nothing.
    ///
    /// # Errors
    /// [`ModelError`] when the model is not for this robot or a graph of it cannot be derived.
    pub fn new(
        runtime: &Runtime,
        model: &DynamicsModel,
        robot: &Robot,
        seed: u64,
        clock: Clock,
    ) -> Result<Self, ModelError> {
        let indices = model.check_robot(robot)?;
        let pose = model.pose(robot)?;
        let adapter = Adapter::new(runtime, model, &robot.adapt, clock)?;
        let mut planner = Planner::new(runtime, model, pose, robot, seed, clock)?;
        planner.set_parameters(adapter.parameters());
        let (states, actions) = (model.contract.state.len(), robot.action.len());
        Ok(Self {
            encoder: Encoder::new(
                indices
                    .into_iter()
                    .map(|index| (index, robot.observation[index].wraps)),
            ),
            window: Window::new(adapter.window_length(), states, actions, robot.period_us()),
            tracker: Tracker::new(
                Path::new(robot.path.shape, robot.path.size_m),
                robot.path.speed_m_s * robot.period_s(),
            ),
            guard: Guard::new(robot),
            spacing_m: robot.path.speed_m_s * robot.period_s(),
            state: vec![0.0; states],
            previous_action: robot.action.iter().map(|action| action.safe).collect(),
            reference: vec![0.0; 3 * robot.plan.horizon],
            future: robot.future_actions(),
            lost: 0,
            previous_state: vec![f32::NAN; states],
            clock,
            adapter,
            planner,
            pose,
        })
    }

    /// Does one tick. `wanted` is how far the caller falls back to keep its deadline; an observation that is not finite or a
    /// failing ONNX Runtime can only lower it further.
    ///
    /// # Panics
    /// If there are not as many values or applied actions as robot.toml has channels.
    pub fn step(&mut self, observation: &Observation, wanted: Degradation) -> Outcome {
        let started = (self.clock)();
        let mut record = schema::Tick {
            tick: observation.tick,
            robot_time_us: observation.robot_time_us,
            observation: observation.values.to_vec(),
            applied: observation.applied.to_vec(),
            ..schema::Tick::default()
        };
        record.set_wanted(wanted);
        let unseen = self.observe(observation, &mut record).err();
        let degradation = match unseen {
            _ if wanted == Degradation::Safe => Degradation::Safe,
            None => wanted,
            Some(_) if self.lost + 1 < LOST_TICKS => Degradation::ReusedPlan,
            Some(_) => Degradation::Safe,
        };
        let encoded = (self.clock)();

        let effort = match degradation {
            Degradation::None => Effort::Adapt,
            Degradation::ReusedPlan | Degradation::ShedAdaptation => Effort::Keep,
            Degradation::ThetaStar | Degradation::Safe => Effort::Star,
        };
        let (adaptation, failed_step) =
            self.adapter.update(&self.window, record.transition, effort);
        record.adaptation = Some(adaptation);
        let adapted = (self.clock)();

        let (plan, failed_plan) = self.plan(observation.tick, degradation, &mut record);
        let planned = (self.clock)();

        let no_plan =
            failed_plan.is_some() || record.plan_cost.is_some_and(|cost| !cost.is_finite());
        let lost = unseen.or(no_plan.then_some(Lost::NoPlan));
        self.lost = match lost {
            Some(_) => self.lost + 1,
            // Reusing a plan because the caller wants it says nothing either way.
            None if record.plan_cost.is_none() => self.lost,
            None => 0,
        };
        // What is left of a plan that failed is the last one, shifted by a tick.
        let degradation = match lost {
            Some(_) if self.lost >= LOST_TICKS => Degradation::Safe,
            Some(Lost::NoPlan) => Degradation::ReusedPlan,
            _ => degradation,
        };
        record.set_degradation(degradation);
        let (command, guard) = if degradation == Degradation::Safe {
            self.guard.safe()
        } else {
            self.guard.check(
                &plan.actions[..self.future * self.previous_action.len()],
                &self.previous_action,
            )
        };
        self.previous_action.copy_from_slice(command.first());
        record.action = command.first().to_vec();
        record.guard = Some(guard);
        let ended = (self.clock)();

        let span = |from: u64, to: u64| u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX);
        let inference = self.adapter.take_inference_ns() + self.planner.take_inference_ns();
        record.timing = Some(schema::Timing {
            encode_ns: span(started, encoded),
            adapt_ns: span(encoded, adapted),
            inference_ns: span(0, inference),
            plan_ns: span(adapted, planned),
            guard_ns: span(planned, ended),
            total_ns: span(started, ended),
        });
        Outcome {
            command,
            record,
            plan,
            fault: failed_step.or(failed_plan),
            lost,
        }
    }

    /// Observation to state, window and path; an error where the state is unknown.
    fn observe(
        &mut self,
        observation: &Observation,
        record: &mut schema::Tick,
    ) -> Result<(), Lost> {
        if let Err(index) = self.encoder.encode(observation.values, &mut self.state) {
            self.window.gap();
            return Err(Lost::Unknown(index));
        }
        let repeats = self.state == self.previous_state;
        self.previous_state.copy_from_slice(&self.state);
        if repeats && observation.armed && observation.applied != self.guard.safe_action() {
            self.window.gap();
            return Err(Lost::Frozen);
        }
        if observation.armed {
            record.transition =
                self.window
                    .push(observation.robot_time_us, observation.applied, &self.state);
        } else {
            self.window.clear();
        }
        record.state.clone_from(&self.state);

        let [x, y, yaw] = [self.pose.x, self.pose.y, self.pose.yaw].map(|index| self.state[index]);
        let cross_track = self.tracker.update(x.into(), y.into());
        self.tracker.reference(self.spacing_m, &mut self.reference);
        record.tracking = Some(schema::Tracking {
            x_m: x,
            y_m: y,
            heading_rad: yaw,
            target_x_m: self.reference[0],
            target_y_m: self.reference[1],
            cross_track_m: cross_track as f32,
            progress_m: self.tracker.progress_m() as f32,
        });
        Ok(())
    }

    /// A new plan, or the last one shifted by a tick where there is no time or no state for a new one.
    fn plan(
        &mut self,
        tick: u64,
        degradation: Degradation,
        record: &mut schema::Tick,
    ) -> (schema::Plan, Option<ModelError>) {
        let horizon = (self.reference.len() / 3) as u32;
        let mut plan = schema::Plan {
            tick,
            horizon,
            ..schema::Plan::default()
        };
        if matches!(degradation, Degradation::ReusedPlan | Degradation::Safe) {
            plan.actions = self.planner.shift(&self.previous_action).to_vec();
            return (plan, None);
        }
        self.planner.set_parameters(self.adapter.parameters());
        let task = Task {
            tick,
            state: &self.state,
            previous_action: &self.previous_action,
            reference: &self.reference,
        };
        match self.planner.plan(&task) {
            Ok(planned) => {
                plan.actions = planned.actions.to_vec();
                plan.states = planned.states.to_vec();
                record.predicted_next = planned.states[..self.state.len()].to_vec();
                record.plan_cost = Some(planned.cost);
                record.base_cost = Some(planned.base_cost);
                (plan, None)
            }
            Err(fault) => {
                plan.actions = self.planner.last().to_vec();
                (plan, Some(fault))
            }
        }
    }
}
