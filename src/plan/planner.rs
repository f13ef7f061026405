//! One plan a tick: candidates, rollout, proposal, and the base plan that always exists.

use super::{Mppi, Noise, Proposal, RandomShooting};
use crate::model::{Clock, DynamicsModel, ModelError, Parameters, Pose, Program, Runtime, derive};
use crate::robot::{PlannerKind, Robot};
use surefoot_firmware::limits::Limiter;

/// Plans with a model: K candidates over H ticks.
pub struct Planner {
    proposal: Box<dyn Proposal>,
    noise: Noise,
    sigma: f32,
    limiters: Vec<Limiter>,
    period_us: u64,
    horizon: usize,
    rollout: Program,
    compare: Program,
    /// (K, H, A)
    candidates: Vec<f32>,
    /// The proposal and the base (2, H, A).
    compared: Vec<f32>,
    /// (H, A)
    plan: Vec<f32>,
    states: usize,
}

/// What a plan is made for.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The tick's number: selects the noise.
    pub tick: u64,
    /// The state now (S).
    pub state: &'a [f32],
    /// The action commanded last (A).
    pub previous_action: &'a [f32],
    /// Where to be after each tick of the horizon (H, 3): x (m), y (m), heading (rad).
    pub reference: &'a [f32],
}

/// A plan.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// The planned actions (H, A).
    pub actions: &'a [f32],
    /// The states predicted under them (H, S).
    pub states: &'a [f32],
    /// Its cost.
    pub cost: f32,
    /// Cost of the base: the last plan, shifted by a tick.
    pub base_cost: f32,
}

/// Inputs of the rollout graph.
const STATE: usize = 0;
const PREVIOUS_ACTION: usize = 1;
const ACTIONS: usize = 2;
const REFERENCE: usize = 3;
const WEIGHTS: usize = 4;
const ACTION_RANGE: usize = 5;
const FIRST_PARAMETER: usize = 6;
/// Outputs of the rollout graph.
const COST: usize = 0;
const STATES: usize = 1;

impl Planner {
    /// Derives the rollout graph for a robot's planner settings and makes its sessions. `seed` is the run's,
    /// `clock` times ONNX Runtime.
    ///
    /// # Errors
    /// [`ModelError`] when the graph cannot be derived or ONNX Runtime refuses it.
    pub fn new(
        runtime: &Runtime,
        model: &DynamicsModel,
        pose: Pose,
        robot: &Robot,
        seed: u64,
        clock: Clock,
    ) -> Result<Self, ModelError> {
        let settings = &robot.plan;
        let limiters = robot.limiters.clone();
        let program = |name, rows| {
            let function =
                derive::rollout(&model.onnx, &model.contract, pose, rows, settings.horizon)
                    .map_err(|source| ModelError::Derive {
                        graph: name,
                        source: Box::new(source),
                    })?;
            let mut program = Program::new(runtime, name, &function, model.onnx.opset(), clock)?;
            let cost = &robot.cost;
            program.input_mut(WEIGHTS).copy_from_slice(&[
                cost.position,
                cost.heading,
                cost.action_rate,
            ]);
            for (range, limiter) in program.input_mut(ACTION_RANGE).iter_mut().zip(&limiters) {
                *range = width(limiter);
            }
            Ok(program)
        };
        let plan: Vec<f32> = (0..settings.horizon)
            .flat_map(|_| robot.action.iter().map(|a| a.safe))
            .collect();
        Ok(Self {
            proposal: match settings.planner {
                PlannerKind::RandomShooting => Box::new(RandomShooting),
                PlannerKind::Mppi => Box::new(Mppi::new(settings.temperature)),
            },
            noise: Noise::new(seed, settings.noise_correlation),
            sigma: settings.noise,
            horizon: settings.horizon,
            rollout: program("rollout", settings.candidates)?,
            compare: program("plan comparison", 2)?,
            candidates: vec![0.0; settings.candidates * plan.len()],
            compared: vec![0.0; 2 * plan.len()],
            plan,
            limiters,
            period_us: robot.period_us().into(),
            states: model.contract.state.len(),
        })
    }

    /// Sets the parameters to plan with.
    pub fn set_parameters(&mut self, parameters: &Parameters) {
        self.rollout.set_parameters(FIRST_PARAMETER, parameters);
        self.compare.set_parameters(FIRST_PARAMETER, parameters);
    }

    /// Time spent in ONNX Runtime since this was last asked, ns.
    pub fn take_inference_ns(&mut self) -> u64 {
        self.rollout.take_inference_ns() + self.compare.take_inference_ns()
    }

    /// Makes the plan of a tick. The last plan, shifted by a tick, is its base: it is kept when the proposal is not
    /// cheaper, so that a plan always exists.
    ///
    /// # Errors
    /// [`ModelError::Run`] when ONNX Runtime fails; the base is then the plan.
    pub fn plan(&mut self, task: &Task) -> Result<Planned<'_>, ModelError> {
        self.shift(task.previous_action);
        for program in [&mut self.rollout, &mut self.compare] {
            program.input_mut(STATE).copy_from_slice(task.state);
            program
                .input_mut(PREVIOUS_ACTION)
                .copy_from_slice(task.previous_action);
            program.input_mut(REFERENCE).copy_from_slice(task.reference);
        }
        self.draw_candidates(task);
        self.rollout
            .input_mut(ACTIONS)
            .copy_from_slice(&self.candidates);
        self.rollout.run()?;

        let length = self.plan.len();
        let (proposed, base) = self.compared.split_at_mut(length);
        base.copy_from_slice(&self.plan);
        if !self
            .proposal
            .propose(self.rollout.output(COST), &self.candidates, proposed)
        {
            proposed.copy_from_slice(base);
        }
        execute(
            &self.limiters,
            self.period_us,
            task.previous_action,
            proposed,
        );
        self.compare
            .input_mut(ACTIONS)
            .copy_from_slice(&self.compared);
        self.compare.run()?;
        let (cost, base_cost) = (self.compare.output(COST)[0], self.compare.output(COST)[1]);
        let chosen = if cost < base_cost || (cost.is_finite() && !base_cost.is_finite()) {
            0
        } else {
            1
        };
        self.plan
            .copy_from_slice(&self.compared[chosen * length..][..length]);
        let states = self.horizon * self.states;
        Ok(Planned {
            actions: &self.plan,
            states: &self.compare.output(STATES)[chosen * states..][..states],
            cost: self.compare.output(COST)[chosen],
            base_cost,
        })
    }

    /// Drops the plan's first action, repeats its last, and brings it within the limits that hold from `previous_action`
    /// on: the plan to go on with when there is no time for a new one.
    pub fn shift(&mut self, previous_action: &[f32]) -> &[f32] {
        let actions = self.limiters.len();
        self.plan.copy_within(actions.., 0);
        let last = self.plan.len() - actions;
        if last >= actions {
            self.plan.copy_within(last - actions..last, last);
        }
        execute(
            &self.limiters,
            self.period_us,
            previous_action,
            &mut self.plan,
        );
        &self.plan
    }

    /// The plan as it stands (H, A).
    pub fn last(&self) -> &[f32] {
        &self.plan
    }

    fn draw_candidates(&mut self, task: &Task) {
        let actions = self.limiters.len();
        self.noise
            .fill(task.tick, self.horizon, actions, &mut self.candidates);
        for (index, candidate) in self
            .candidates
            .chunks_exact_mut(self.plan.len())
            .enumerate()
        {
            let sigma = if index == 0 { 0.0 } else { self.sigma };
            for (step, base) in candidate
                .chunks_exact_mut(actions)
                .zip(self.plan.chunks_exact(actions))
            {
                for ((value, base), limiter) in step.iter_mut().zip(base).zip(&self.limiters) {
                    *value = base + sigma * width(limiter) * *value;
                }
            }
            execute(
                &self.limiters,
                self.period_us,
                task.previous_action,
                candidate,
            );
        }
    }
}

/// Width of the range that an action may have, in its unit.
fn width(limiter: &Limiter) -> f32 {
    limiter.limit().max - limiter.limit().min
}

/// Brings a plan (H, A) within the limits, as the robot would execute it after `previous` (A).
fn execute(limiters: &[Limiter], period_us: u64, previous: &[f32], plan: &mut [f32]) {
    let actions = limiters.len();
    for index in 0..plan.len() {
        let before = if index < actions {
            previous[index]
        } else {
            plan[index - actions]
        };
        plan[index] = limiters[index % actions].limit_step(before, plan[index], period_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use surefoot_wire::Limit;

    #[test]
    fn candidates_are_scored_as_the_robot_would_execute_them() {
        let limiter = |min, max, rate| Limiter::new(Limit { min, max, rate }).unwrap();
        let limiters = [limiter(-1.0, 1.0, 5.0), limiter(0.0, 9.0, 90.0)];
        let mut plan = [0.2, 5.0, 3.0, 20.0, -3.0, -4.0];
        execute(&limiters, 100_000, &[-1.0, 0.0], &mut plan);
        assert_eq!(plan, [-0.5, 5.0, 0.0, 9.0, -0.5, 0.0]);
    }
}
