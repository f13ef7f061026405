//! `surefoot inspect`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use surefoot::model::{self, Case, Contract, DynamicsModel, Pose, Runtime, derive};
use surefoot::robot::Robot;

/// Tell what a model is, what is derived from it, and what would stop it from being used.
///
/// Exit code 0 when the model can adapt and plan, 1 when something stops it.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The model.
    model: PathBuf,
    /// Check it against this robot too, and use its planner's settings.
    #[arg(long, value_name = "ROBOT.toml")]
    robot: Option<PathBuf>,
    /// Compute the gradients of a case instead, to check them against your own framework. The case: {"inputs": {name: nested
    /// list}, "output": name, "target": nested list, "parameters": [names] (optional), "inner_step": x (optional), "query":
    /// {"inputs", "target"} (optional)}. The answer, one JSON object: loss (mean squared error), output, parameter_gradients,
    /// input_gradients, meta_gradients (of the query's loss after one inner step), all lists flat.
    #[arg(long, value_name = "CASE.json")]
    gradients: Option<PathBuf>,
    /// Print one JSON object: opset, parameters [{name, shape, step}], contract (null if it has none), graphs {name: {nodes,
    /// flops}}, flops_a_tick, usable, obstacles [text].
    #[arg(long)]
    json: bool,
}

/// Planner settings where no robot is given.
const CANDIDATES: usize = 500;
const HORIZON: usize = 10;
/// Rows of the gradient graph, which shows that a model can be differentiated even if it has no contract.
const GRADIENT_ROWS: usize = 16;

impl Inspect {
    /// Inspects the model.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(case) = &self.gradients {
            let json = std::fs::read_to_string(case).with_context(|| case.display().to_string())?;
            let case = Case::from_json(&json).with_context(|| case.display().to_string())?;
            let model = onnx_grad::Model::open(&self.model)
                .with_context(|| self.model.display().to_string())?;
            let gradients = case.compute(&model, &Runtime::load()?)?;
            say!("{}", serde_json::to_string(&gradients)?);
            return Ok(ExitCode::SUCCESS);
        }
        let bytes = model::read(&self.model).with_context(|| self.model.display().to_string())?;
        let onnx =
            onnx_grad::Model::read(&bytes).with_context(|| self.model.display().to_string())?;
        let robot = self.robot.as_deref().map(Robot::read).transpose()?;
        let mut obstacles = Vec::new();

        let contract = Contract::from_metadata(onnx.metadata())
            .map_err(|fault| obstacles.push(fault.to_string()))
            .ok();
        let mut pose = Pose { x: 0, y: 0, yaw: 0 };
        if contract.is_some() {
            let checked = Runtime::load().and_then(|runtime| {
                let model = DynamicsModel::from_bytes(bytes, &self.model, &runtime)?;
                if let Some(robot) = &robot {
                    model.check_robot(robot)?;
                    pose = model.pose(robot)?;
                }
                Ok(())
            });
            obstacles.extend(checked.err().map(|fault| fault.to_string()));
        }
        let (candidates, horizon) = robot.as_ref().map_or((CANDIDATES, HORIZON), |robot| {
            (robot.plan.candidates, robot.plan.horizon)
        });
        let mut graphs = vec![
            ("predict", derive::predict(&onnx, candidates)),
            ("gradient", derive::gradient(&onnx, GRADIENT_ROWS)),
        ];
        if let Some(contract) = contract.as_ref().filter(|_| obstacles.is_empty()) {
            graphs.push(("errors", derive::errors(&onnx, contract)));
            graphs.push(("adapt", derive::adapt(&onnx, contract)));
            graphs.push((
                "rollout",
                derive::rollout(&onnx, contract, pose, candidates, horizon),
            ));
            graphs.push((
                "compare",
                derive::rollout(&onnx, contract, pose, 2, horizon),
            ));
        }
        let mut derived = Vec::new();
        for (name, graph) in graphs {
            match graph {
                Ok(graph) => derived.push((name, graph.node_count(), graph.flops())),
                Err(fault) => obstacles.push(format!("the {name} graph: {fault}")),
            }
        }
        let flops = |name: &str| {
            derived
                .iter()
                .find(|(of, ..)| *of == name)
                .map_or(0, |(.., flops)| *flops)
        };
        // A tick scores theta*, the parameters in use and the gate's trial, makes two steps, and rolls out once.
        let tick = 3 * flops("errors") + 2 * flops("adapt") + flops("rollout") + flops("compare");
        let usable = obstacles.is_empty();
        let step = |name: &str| {
            contract
                .as_ref()
                .and_then(|contract| contract.adapt.steps.get(name))
                .copied()
        };

        if self.json {
            let parameters: Vec<_> = onnx
                .parameters()
                .iter()
                .map(|p| json!({ "name": p.name, "shape": p.shape, "step": step(&p.name) }))
                .collect();
            let graphs: serde_json::Map<_, _> = derived
                .iter()
                .map(|(name, nodes, flops)| {
                    (
                        (*name).to_owned(),
                        json!({ "nodes": nodes, "flops": flops }),
                    )
                })
                .collect();
            let contract = contract.as_ref().map(Contract::to_json);
            say!(
                "{}",
                json!({
                    "opset": onnx.opset(), "parameters": parameters, "contract": contract, "graphs": graphs,
                    "flops_a_tick": tick, "usable": usable, "obstacles": obstacles,
                })
            );
        } else {
            say!("{} (opset {})", self.model.display(), onnx.opset());
            if let Some(contract) = &contract {
                say!(
                    "\nfor the robot '{}', a tick of {} s",
                    contract.robot,
                    contract.period_s
                );
                for state in &contract.state {
                    say!(
                        "  state   {:<18} {:<6} changes by {:.4} a tick",
                        state.name,
                        state.unit,
                        state.scale
                    );
                }
                for action in &contract.action {
                    say!("  action  {:<18} {}", action.name, action.unit);
                }
                say!("adapts on the last {} transitions", contract.adapt.window);
            }
            say!("\nparameters");
            for parameter in onnx.parameters() {
                let adapts = step(&parameter.name)
                    .map_or("fixed".into(), |step| format!("inner step {step:.4}"));
                say!(
                    "  {:<24} {:<14} {adapts}",
                    parameter.name,
                    format!("{:?}", parameter.shape)
                );
            }
            say!(
                "\nderived for {candidates} candidates over {horizon} ticks, the gradient for {GRADIENT_ROWS} rows"
            );
            for (name, nodes, flops) in &derived {
                say!(
                    "  {name:<10} {nodes:>6} nodes {:>10.2} MFLOP",
                    *flops as f64 * 1e-6
                );
            }
            if usable {
                say!("  a tick {:>29.2} MFLOP", tick as f64 * 1e-6);
                say!("\nnothing stops it from being used");
            } else if flops("gradient") > 0 {
                say!("\nit can be differentiated, by every parameter");
            }
            for obstacle in &obstacles {
                say!("cannot be used: {obstacle}");
            }
        }
        Ok(if usable {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
