//! The exact comparison: what was recorded against what was computed again, field by field, floats by their bits.
//!
//! Inputs (observation, applied action, times, what the robot reported) and wall-clock timing are not compared; tracking is a
//! function of the state. Fields come in the order in which a tick computes them, so that the first difference is the cause of
//! those behind it.

use std::fmt;

use serde::Serialize;

use crate::hash::hex;
use crate::log::schema::{Adaptation, Guard, Plan, Tick};

/// How far a recomputed run equals the recorded one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Comparison {
    /// Ticks compared.
    pub ticks: u64,
    /// Ticks in which every field was equal.
    pub equal: u64,
    /// Where the runs part.
    pub first_difference: Option<Difference>,
    /// Whether the log was closed by its writer; a log that was cut is only proved up to its cut.
    pub complete: bool,
}

/// The first field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Number of the tick in the log.
    pub tick: u64,
    /// Name of the field as in `surefoot.proto`, with the message it stands in unless that is the tick: `action`,
    /// `adaptation.parameter_hash`, `plan.states`.
    pub field: &'static str,
    /// The recorded value, of a vector the first element that differs.
    pub recorded: String,
    /// The recomputed value in the same place.
    pub recomputed: String,
}

impl Comparison {
    /// Whether every tick was equal and there was one.
    pub fn is_exact(&self) -> bool {
        self.ticks > 0 && self.equal == self.ticks
    }

    /// Notes a tick whose plan should have been recorded and was not.
    pub fn no_plan(&mut self, tick: u64) {
        self.ticks += 1;
        self.first_difference.get_or_insert(Difference {
            tick,
            field: "plan",
            recorded: "nothing".into(),
            recomputed: "a plan".into(),
        });
    }

    /// Compares one tick, and the plan behind it where one was recorded.
    pub fn tick(&mut self, recorded: (&Tick, Option<&Plan>), recomputed: (&Tick, &Plan)) {
        let tick = recorded.0.tick;
        let difference = first_difference(tick, &learned(recorded.0), &learned(recomputed.0))
            .or_else(|| first_difference(tick, &planned(recorded.1?), &planned(recomputed.1)))
            .or_else(|| first_difference(tick, &commanded(recorded.0), &commanded(recomputed.0)));
        self.ticks += 1;
        self.equal += u64::from(difference.is_none());
        self.first_difference = self.first_difference.take().or(difference);
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} ticks equal bit for bit",
            self.equal, self.ticks
        )?;
        if !self.complete {
            write!(f, "; the log was cut there")?;
        }
        match &self.first_difference {
            None => Ok(()),
            Some(Difference {
                tick,
                field,
                recorded,
                recomputed,
            }) => {
                write!(
                    f,
                    "; first difference in tick {tick}, field {field}: recorded {recorded}, recomputed {recomputed}"
                )
            }
        }
    }
}

/// The value of one field.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Number(Option<u64>),
    Float(Option<f32>),
    Floats(&'a [f32]),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// Both values as text where they differ.
    fn difference(self, other: Self) -> Option<(String, String)> {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => (a != b).then(|| (number(a), number(b))),
            (Value::Float(a), Value::Float(b)) => {
                (a.map(f32::to_bits) != b.map(f32::to_bits)).then(|| (float(a), float(b)))
            }
            (Value::Floats(a), Value::Floats(b)) => {
                let longest = a.len().max(b.len());
                let at = (0..longest)
                    .find(|&at| a.get(at).map(|v| v.to_bits()) != b.get(at).map(|v| v.to_bits()))?;
                let text = |values: &[f32]| format!("[{at}] = {}", float(values.get(at).copied()));
                Some((text(a), text(b)))
            }
            (Value::Bytes(a), Value::Bytes(b)) => (a != b).then(|| (hex(a), hex(b))),
            _ => unreachable!("a field has one type"),
        }
    }
}

fn number(value: Option<u64>) -> String {
    value.map_or("nothing".into(), |value| value.to_string())
}

fn float(value: Option<f32>) -> String {
    value.map_or("nothing".into(), |value| {
        format!("{value} (bits {:08x})", value.to_bits())
    })
}

type Field<'a> = (&'static str, Value<'a>);

fn first_difference(
    tick: u64,
    recorded: &[Field<'_>],
    recomputed: &[Field<'_>],
) -> Option<Difference> {
    recorded
        .iter()
        .zip(recomputed)
        .find_map(|(&(field, recorded), &(_, recomputed))| {
            let (recorded, recomputed) = recorded.difference(recomputed)?;
            Some(Difference {
                tick,
                field,
                recorded,
                recomputed,
            })
        })
}

/// From the observation to the parameters.
fn learned(tick: &Tick) -> [Field<'_>; 14] {
    use Value::{Bytes, Float, Floats, Number};
    let adaptation = tick.adaptation.as_ref();
    let float = |field: fn(&Adaptation) -> Option<f32>| Float(adaptation.and_then(field));
    [
        ("tick", Number(Some(tick.tick))),
        ("transition", Number(Some(tick.transition.into()))),
        ("state", Floats(&tick.state)),
        (
            "adaptation.decision",
            Number(adaptation.map(|adaptation| adaptation.decision as u64)),
        ),
        (
            "adaptation.window",
            Number(adaptation.map(|adaptation| adaptation.window.into())),
        ),
        (
            "adaptation.loss_before",
            float(|adaptation| adaptation.loss_before),
        ),
        (
            "adaptation.loss_after",
            float(|adaptation| adaptation.loss_after),
        ),
        (
            "adaptation.gradient_norm",
            float(|adaptation| adaptation.gradient_norm),
        ),
        (
            "adaptation.step_norm",
            float(|adaptation| adaptation.step_norm),
        ),
        (
            "adaptation.gate_loss_star",
            float(|adaptation| adaptation.gate_loss_star),
        ),
        (
            "adaptation.gate_loss_adapted",
            float(|adaptation| adaptation.gate_loss_adapted),
        ),
        (
            "adaptation.error_star",
            float(|adaptation| adaptation.error_star),
        ),
        (
            "adaptation.error_used",
            float(|adaptation| adaptation.error_used),
        ),
        (
            "adaptation.parameter_hash",
            Bytes(adaptation.map_or(&[], |adaptation| &adaptation.parameter_hash)),
        ),
    ]
}

fn planned(plan: &Plan) -> [Field<'_>; 3] {
    [
        ("plan.horizon", Value::Number(Some(plan.horizon.into()))),
        ("plan.actions", Value::Floats(&plan.actions)),
        ("plan.states", Value::Floats(&plan.states)),
    ]
}

/// From the plan to the command.
fn commanded(tick: &Tick) -> [Field<'_>; 9] {
    use Value::{Float, Floats, Number};
    let flag =
        |field: fn(&Guard) -> bool| Number(tick.guard.as_ref().map(|guard| field(guard).into()));
    [
        ("predicted_next", Floats(&tick.predicted_next)),
        ("plan_cost", Float(tick.plan_cost)),
        ("base_cost", Float(tick.base_cost)),
        ("guard.clamped", flag(|guard| guard.clamped)),
        ("guard.rate_limited", flag(|guard| guard.rate_limited)),
        ("guard.non_finite", flag(|guard| guard.non_finite)),
        ("guard.fallback", flag(|guard| guard.fallback)),
        ("degradation", Number(Some(tick.degradation as u64))),
        ("action", Floats(&tick.action)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(number: u64) -> Tick {
        Tick {
            tick: number,
            state: vec![f32::NAN, -0.0],
            action: vec![0.25, 0.5],
            plan_cost: Some(1.0),
            adaptation: Some(Adaptation {
                parameter_hash: vec![1, 2],
                loss_before: Some(0.5),
                ..Adaptation::default()
            }),
            ..Tick::default()
        }
    }

    fn plan(number: u64) -> Plan {
        Plan {
            tick: number,
            horizon: 1,
            actions: vec![0.25, 0.5],
            states: vec![1.0, 2.0],
        }
    }

    #[test]
    fn equal_runs_are_exact_whatever_they_hold() {
        let mut comparison = Comparison::default();
        assert!(!comparison.is_exact(), "nothing compared proves nothing");
        for number in 0..3 {
            let slower = Tick {
                timing: Some(Default::default()),
                monotonic_ns: 9,
                ..tick(number)
            };
            comparison.tick(
                (&tick(number), Some(&plan(number))),
                (&slower, &plan(number)),
            );
        }
        assert!(comparison.is_exact());
        assert_eq!(
            serde_json::to_string(&comparison).unwrap(),
            r#"{"ticks":3,"equal":3,"first_difference":null,"complete":false}"#
        );
    }

    #[test]
    fn the_first_difference_is_named_to_the_bit() {
        let mut comparison = Comparison::default();
        comparison.tick((&tick(7), None), (&tick(7), &plan(7)));
        let mut flipped = tick(8);
        flipped.action[1] = f32::from_bits(0.5f32.to_bits() ^ 1);
        comparison.tick((&flipped, Some(&plan(8))), (&tick(8), &plan(8)));
        comparison.tick((&tick(9), None), (&tick(10), &plan(10)));
        assert_eq!((comparison.ticks, comparison.equal), (3, 1));
        let difference = comparison.first_difference.unwrap();
        assert_eq!((difference.tick, difference.field), (8, "action"));
        assert_eq!(difference.recorded, "[1] = 0.50000006 (bits 3f000001)");
        assert_eq!(difference.recomputed, "[1] = 0.5 (bits 3f000000)");
    }

    #[test]
    fn absent_zero_and_negative_zero_are_three_values() {
        let costs = [None, Some(0.0), Some(-0.0)].map(|plan_cost| Tick {
            plan_cost,
            ..Tick::default()
        });
        for (at, a) in costs.iter().enumerate() {
            for b in &costs[at + 1..] {
                let mut comparison = Comparison::default();
                comparison.tick((a, None), (b, &plan(0)));
                assert_eq!(comparison.first_difference.unwrap().field, "plan_cost");
            }
        }
    }

    #[test]
    fn a_recorded_plan_is_compared_too() {
        let mut comparison = Comparison::default();
        let shorter = Plan {
            states: vec![1.0],
            ..plan(0)
        };
        comparison.tick((&tick(0), Some(&plan(0))), (&tick(0), &shorter));
        let difference = comparison.first_difference.unwrap();
        assert_eq!(
            (difference.field, difference.recomputed.as_str()),
            ("plan.states", "[1] = nothing")
        );
    }
}
