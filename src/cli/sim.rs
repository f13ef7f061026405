//! `surefoot sim`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use surefoot::sim::{self, Event, Pace, Pty, Scene, SimulatedRobot, TimedChange};

/// Serve a simulated robot on a pseudo-terminal, as if it were plugged in.
///
/// Prints the port's path first; give it to `surefoot run --port`. The simulated microcontroller runs the firmware's own
/// logic. One JSON object a line on standard output tells what happens: {"port"}, then {"time_us", "event", "mode", "x_m",
/// "y_m"} with the events host_came, host_went, mode_changed and failed.
#[derive(Debug, Args)]
pub struct Sim {
    /// The scene.
    #[arg(default_value = "models/roach/sim.toml")]
    scene: PathBuf,
    /// The terrain, one of the scene's; without it, the ground as the scene has it.
    #[arg(long)]
    terrain: Option<String>,
    /// A change at a simulated time, for example payload-10g-rear@2s; may be given several times.
    #[arg(long, value_name = "NAME@TIME")]
    change: Vec<TimedChange>,
    /// Lose a leg at a simulated time, for example middle-left@4s: short for --change lose-middle-left@4s.
    #[arg(long, value_name = "LEG@TIME", value_parser = TimedChange::lose)]
    lose: Vec<TimedChange>,
    /// Seed of the sensors' noise.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Ticks a second, instead of the scene's.
    #[arg(long)]
    rate_hz: Option<f64>,
    /// Wait for every command: simulated time then depends on the host's commands alone.
    #[arg(long)]
    lock_step: bool,
}

impl Sim {
    /// Serves until SIGINT or SIGTERM.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let scene = Scene::load(&self.scene)?.at_rate(self.rate_hz)?;
        let changes: Vec<_> = self.change.into_iter().chain(self.lose).collect();
        let mut robot = SimulatedRobot::new(&scene, self.terrain.as_deref(), &changes, self.seed)?;
        let stop = super::stop_on_signal()?;
        let port = Pty::open().map_err(sim::Error::Port)?;
        say!("{}", json!({ "port": port.path() }));
        let pace = if self.lock_step {
            Pace::LockStep
        } else {
            Pace::RealTime
        };
        let mut failure = None;
        sim::serve(&mut robot, &port, pace, &stop, |robot, event| {
            let name = match event {
                Event::Tick => return,
                Event::HostCame => "host_came",
                Event::HostWent => "host_went",
                Event::ModeChanged => "mode_changed",
                Event::Failed => "failed",
            };
            let [x, y, _] = robot.pose().position;
            let mode = format!("{:?}", robot.mode()).to_lowercase();
            say!(
                "{}",
                json!({ "time_us": robot.time_us(), "event": name, "mode": mode, "x_m": x, "y_m": y })
            );
            failure = robot.failure().map(ToString::to_string);
        })?;
        match failure {
            Some(reason) => Err(anyhow::anyhow!(reason)),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}
