//! One seeded run of a scene: actions in, noisy observations out.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::mujoco::{self, Data, Library, Model, Object, Part};
use super::sensor::{Layout, Quantity};
use super::{Error, Pose, Scene, TimedChange};

/// A simulated robot without its microcontroller.
///
/// The same scene, terrain, changes, seed and actions give the same observations bit for bit, whatever the pattern of the calls:
/// two steps of 5 ms are one of 10 ms, and an observation that is taken twice is the same twice.
pub struct Plant {
    data: Data,
    /// The changes to come, the next one last, each with the simulation that goes on from it.
    changes: Vec<(u64, Data)>,
    step_us: u64,
    /// Time since the start: asked for, and simulated in whole steps.
    time_us: u64,
    simulated_us: u64,
    failure: Option<(u64, mujoco::Error)>,
    actuators: Vec<(usize, String)>,
    sensors: Vec<(Quantity, f64)>,
    noise_key: [u8; 32],
    positions: Vec<f64>,
    velocities: Vec<f64>,
    controls: Vec<f64>,
    integration: Vec<f64>,
    observation: Vec<f32>,
}

impl Plant {
    /// Compiles the scene on a terrain (without one, as its file is) and with every change, so that no step has to.
    ///
    /// # Errors
    ///
    /// Any [`Error`] of a wrong name, edit or scene, or of an absent MuJoCo.
    pub fn new(
        scene: &Scene,
        terrain: Option<&str>,
        changes: &[TimedChange],
        seed: u64,
    ) -> Result<Self, Error> {
        let mjcf = scene.mjcf_of(terrain, &[])?;
        let compiled = Compiled::new("the scene", &mjcf)?;
        let model = compiled.data.model();
        let layout = Layout::new(&mjcf, model)?;
        let sensors = scene.observations().iter().map(|observation| {
            Ok((
                layout.find(&observation.source, &observation.name)?,
                observation.noise_std,
            ))
        });
        let actuators = scene.actions().iter().map(|action| {
            let (user, name) = (action.name.clone(), action.actuator.clone());
            let index = model.index(Object::Actuator, &name);
            index
                .map(|index| (index, action.name.clone()))
                .ok_or(Error::NoObject {
                    user,
                    kind: "actuator",
                    name,
                })
        });
        let mut plant = Self {
            changes: later(scene, terrain, changes, &compiled)?,
            step_us: compiled.step_us,
            time_us: 0,
            simulated_us: 0,
            failure: None,
            actuators: actuators.collect::<Result<_, _>>()?,
            sensors: sensors.collect::<Result<_, Error>>()?,
            noise_key: noise_key(seed),
            positions: vec![0.0; model.size(Part::Positions)],
            velocities: vec![0.0; model.size(Part::Velocities)],
            controls: vec![0.0; model.size(Part::Controls)],
            integration: vec![0.0; model.size(Part::Integration)],
            observation: vec![0.0; scene.observations().len()],
            data: compiled.data,
        };
        plant.read_state();
        Ok(plant)
    }

    /// Holds the actions for `dt_us` microseconds. The physics advances in the scene's own time step, as far as whole steps go.
    ///
    /// # Errors
    ///
    /// [`Error::Action`], with nothing changed, or [`Error::Failed`], now and on every later call.
    ///
    /// # Panics
    ///
    /// If there are not as many actions as the scene has.
    pub fn step(&mut self, actions: &[f32], dt_us: u64) -> Result<(), Error> {
        assert_eq!(actions.len(), self.actuators.len(), "number of actions");
        for ((index, name), &value) in self.actuators.iter().zip(actions) {
            if !value.is_finite() {
                return Err(Error::Action {
                    name: name.clone(),
                    value,
                });
            }
            self.controls[*index] = f64::from(value);
        }
        self.time_us += dt_us;
        if self.failure.is_none() {
            self.failure = self
                .advance()
                .err()
                .map(|reason| (self.simulated_us, reason));
        }
        match &self.failure {
            Some((at_us, reason)) => Err(Error::Failed {
                at_us: *at_us,
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// What the sensors say now, in the order of the scene's observations: NaN once the simulation has failed.
    pub fn observe(&mut self) -> &[f32] {
        if self.failure.is_some() {
            self.observation.fill(f32::NAN);
            return &self.observation;
        }
        let mut noise = ChaCha8Rng::from_seed(self.noise_key);
        noise.set_stream(self.simulated_us);
        let pose = self.pose();
        for (observed, (quantity, std)) in self.observation.iter_mut().zip(&self.sensors) {
            let normal: f64 = StandardNormal.sample(&mut noise);
            *observed =
                (quantity.value(&pose, &self.positions, &self.velocities) + std * normal) as f32;
        }
        &self.observation
    }

    /// The true pose.
    pub fn pose(&self) -> Pose {
        Pose::of(&self.positions)
    }

    /// The time since the start, in microseconds: the sum of the steps.
    pub fn time_us(&self) -> u64 {
        self.time_us
    }

    fn advance(&mut self) -> Result<(), mujoco::Error> {
        while self.simulated_us + self.step_us <= self.time_us {
            while let Some((_, mut changed)) = self
                .changes
                .pop_if(|(at_us, _)| *at_us <= self.simulated_us)
            {
                self.data.get(Part::Integration, &mut self.integration);
                changed.set(Part::Integration, &self.integration);
                self.data = changed;
            }
            self.data.set(Part::Controls, &self.controls);
            self.data.step()?;
            self.simulated_us += self.step_us;
        }
        self.read_state();
        let finite = self
            .positions
            .iter()
            .chain(&self.velocities)
            .all(|value| value.is_finite());
        if finite {
            Ok(())
        } else {
            Err(mujoco::Error::Unstable("the state is not finite".into()))
        }
    }

    fn read_state(&mut self) {
        self.data.get(Part::Positions, &mut self.positions);
        self.data.get(Part::Velocities, &mut self.velocities);
    }
}

/// A simulation that is ready to run, with its time step.
struct Compiled {
    data: Data,
    step_us: u64,
}

impl Compiled {
    fn new(condition: &str, mjcf: &str) -> Result<Self, Error> {
        let prepare = || {
            let model = Arc::new(Library::load()?.compile(mjcf)?);
            Ok((Data::new(Arc::clone(&model))?, time_step(model)?))
        };
        let (data, step_s) = prepare().map_err(|reason| Error::MuJoCo {
            condition: condition.into(),
            reason,
        })?;
        let step_us = (step_s * 1e6).round();
        if step_us < 1.0 || (step_us - step_s * 1e6).abs() > 1e-6 {
            return Err(Error::TimeStep(step_s));
        }
        Ok(Self {
            data,
            step_us: step_us as u64,
        })
    }
}

/// The model's time step in seconds, read off a simulation's first step.
fn time_step(model: Arc<Model>) -> Result<f64, mujoco::Error> {
    let mut data = Data::new(model)?;
    data.step()?;
    let mut time = [0.0];
    data.get(Part::Time, &mut time);
    Ok(time[0])
}

/// The simulations that each change in turn goes on with, the first change last.
fn later(
    scene: &Scene,
    terrain: Option<&str>,
    changes: &[TimedChange],
    from: &Compiled,
) -> Result<Vec<(u64, Data)>, Error> {
    let mut in_order: Vec<&TimedChange> = changes.iter().collect();
    in_order.sort_by_key(|change| change.at_us);
    let mut names = Vec::new();
    let mut later = Vec::new();
    for change in in_order {
        names.push(change.name.as_str());
        let changed = Compiled::new(
            &format!("the change `{}`", change.name),
            &scene.mjcf_of(terrain, &names)?,
        )?;
        let size = |part| {
            (
                from.data.model().size(part),
                changed.data.model().size(part),
            )
        };
        let parts = [
            Part::Positions,
            Part::Velocities,
            Part::Controls,
            Part::Integration,
        ];
        if changed.step_us != from.step_us
            || parts
                .map(size)
                .iter()
                .any(|(before, after)| before != after)
        {
            return Err(Error::NotCarried(change.name.clone()));
        }
        later.push((change.at_us, changed.data));
    }
    later.reverse();
    Ok(later)
}

/// The sensors' noise has a generator of its own, so that it shares no number with another user of the run's seed.
fn noise_key(seed: u64) -> [u8; 32] {
    let mut key = *b"........surefoot simulated noise";
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key
}
