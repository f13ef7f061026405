//! Random runs of simulated robots.

use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::TrainError;
use super::dataset::Run;
use super::recipe::{Recipe, Simulation};
use crate::robot::{ActionChannel, Robot};
use crate::run::contract;
use crate::sim::{self, Plant, Scene, TimedChange};
use crate::state::Encoder;

/// Records a recipe's episodes on `threads` threads. The episodes depend on the recipe alone. `progress` is called with
/// each episode that is done.
///
/// # Errors
/// [`TrainError::Simulation`] when the scene cannot be simulated, [`TrainError::OtherScene`] when it is another robot's.
pub fn collect(
    recipe: &Recipe,
    simulation: &Simulation,
    robot: &Robot,
    threads: usize,
    progress: &(dyn Fn() + Sync),
) -> Result<Vec<Run>, TrainError> {
    let scene = Scene::load(&simulation.scene)?;
    let channels = contract(robot);
    let measured = scene
        .observations()
        .iter()
        .map(|o| (o.name.clone(), o.unit.clone()));
    let driven = scene
        .actions()
        .iter()
        .map(|a| (a.name.clone(), a.unit.clone()));
    if !measured.eq(channels.observation) || !driven.eq(channels.action) {
        return Err(TrainError::OtherScene {
            scene: simulation.scene.clone(),
            robot: recipe.robot.clone(),
        });
    }
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Option<Run>)>, sim::Error> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= simulation.episodes {
                return Ok(done);
            }
            done.push((index, episode(recipe, simulation, robot, &scene, index)?));
            progress();
        }
    };
    let mut episodes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(done) => all.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, sim::Error>(all)
    })?;
    episodes.sort_by_key(|(index, _)| *index);
    Ok(episodes.into_iter().filter_map(|(_, run)| run).collect())
}

/// One episode on a drawn terrain with drawn changes; `None` when the robot fell over.
fn episode(
    recipe: &Recipe,
    simulation: &Simulation,
    robot: &Robot,
    scene: &Scene,
    index: usize,
) -> Result<Option<Run>, sim::Error> {
    let mut random = ChaCha8Rng::seed_from_u64(recipe.seed);
    random.set_stream(index as u64 + 1);
    let terrain = &simulation.terrains[random.random_range(0..simulation.terrains.len())];
    let mut changes = Vec::new();
    for group in &simulation.group {
        if random.random_bool(group.probability) {
            let name = group.changes[random.random_range(0..group.changes.len())].clone();
            changes.push(TimedChange { name, at_us: 0 });
        }
    }
    let mut plant = Plant::new(scene, Some(terrain), &changes, random.random())?;
    let mut excitation = Excitation::new(&robot.action, robot.period_s(), &mut random);

    let channel = |name: &String| {
        robot
            .observation
            .iter()
            .position(|channel| &channel.name == name)
    };
    let states = recipe.network.state.iter().filter_map(channel);
    let mut encoder = Encoder::new(states.map(|index| (index, robot.observation[index].wraps)));
    let upright: Vec<usize> = simulation.upright.iter().filter_map(channel).collect();
    let mut run = Run::default();
    for tick in 0..=(simulation.episode_s * robot.rate_hz) as usize {
        let observation = plant.observe();
        let fallen =
            |&index: &usize| f64::from(observation[index].abs()) > simulation.upright_limit_rad;
        let mut state = vec![0.0; encoder.states()];
        if upright.iter().any(fallen) || encoder.encode(observation, &mut state).is_err() {
            return Ok(None);
        }
        if tick > 0 {
            run.actions.push(excitation.action().to_vec());
        }
        run.states.push(state);
        excitation.advance(&mut random);
        plant.step(excitation.action(), u64::from(robot.period_us()))?;
    }
    Ok(Some(run))
}

/// Smooth random actions: each channel an autoregressive process about a mean that jumps now and then. Times and sizes are
/// drawn anew for each episode, sizes as shares of the channel's range.
struct Excitation<'a> {
    channels: &'a [ActionChannel],
    correlation: f64,
    jump: f64,
    deviation: f64,
    mean: Vec<f64>,
    noise: Vec<f64>,
    action: Vec<f32>,
}

/// Mean time between two jumps of the means, s.
const JUMP_S: f64 = 2.0;
/// Standard deviation of a channel's mean about the mean that all share, as a share of the range.
const SPREAD: f64 = 0.17;

impl<'a> Excitation<'a> {
    fn new(channels: &'a [ActionChannel], period_s: f64, random: &mut impl Rng) -> Self {
        let time_s = random.random_range(0.2..1.0);
        let shared = random.random_range(0.25..0.83);
        Self {
            channels,
            correlation: f64::exp(-period_s / time_s),
            jump: period_s / JUMP_S,
            deviation: random.random_range(0.1..0.3),
            mean: vec![shared; channels.len()],
            noise: channels
                .iter()
                .map(|_| StandardNormal.sample(random))
                .collect(),
            action: vec![0.0; channels.len()],
        }
    }

    fn advance(&mut self, random: &mut impl Rng) {
        if random.random_bool(self.jump.min(1.0)) {
            let shared = random.random_range(0.17..0.92);
            for mean in &mut self.mean {
                let apart: f64 = StandardNormal.sample(random);
                *mean = shared + SPREAD * apart;
            }
        }
        let fresh = (1.0 - self.correlation.powi(2)).sqrt();
        for (index, channel) in self.channels.iter().enumerate() {
            let sample: f64 = StandardNormal.sample(random);
            self.noise[index] = self.correlation * self.noise[index] + fresh * sample;
            let share = (self.mean[index] + self.deviation * self.noise[index]).clamp(0.0, 1.0);
            self.action[index] = channel.min + share as f32 * (channel.max - channel.min);
        }
    }

    fn action(&self) -> &[f32] {
        &self.action
    }
}
