//! One tick of the loop: a function of its inputs, which adapts to a robot that changed and is safe whatever it is given.

mod support;

use prost::Message;
use support::{Walker, robot, runtime, tick};
use surefoot::log::schema::{Adaptation, Decision, Degradation};
use surefoot::robot::{Robot, Rule};
use surefoot::tick::{Lost, Outcome};
use surefoot_firmware::limits::Limiter;
use surefoot_wire::Limit;

/// All bytes of what a tick decided.
fn bytes(outcome: &Outcome) -> (Vec<u8>, Vec<u8>, Vec<u32>) {
    let command = outcome.command.actions();
    (
        outcome.record.encode_to_vec(),
        outcome.plan.encode_to_vec(),
        command.iter().map(|value| value.to_bits()).collect(),
    )
}

fn adaptation(outcome: &Outcome) -> &Adaptation {
    outcome.record.adaptation.as_ref().unwrap()
}

/// The command may go to the robot: every action is a number within the limits.
fn assert_safe(robot: &Robot, outcome: &Outcome) {
    let actions = outcome.command.actions();
    assert!(!actions.is_empty());
    for (index, value) in actions.iter().enumerate() {
        let limiter = &robot.limiters[index % robot.limiters.len()];
        assert!(limiter.allows(*value), "{:?}", outcome.record);
    }
    assert_eq!(outcome.record.action, outcome.command.first());
}

#[test]
fn a_tick_is_a_function_of_its_inputs() {
    let runtime = runtime();
    for rule in Rule::ALL {
        let robot = robot(rule);
        let mut first = tick(&runtime, &robot, 3);
        let walked = Walker::new(&robot, &["lose-middle-left@1s"], 1).walk(&mut first, 30);

        let mut second = tick(&runtime, &robot, 3);
        let mut after_others = tick(&runtime, &robot, 3);
        let mut other = tick(&runtime, &robot, 4);
        for (input, outcome) in &walked {
            let expected = bytes(outcome);
            assert!(bytes(&input.step(&mut second)) == expected, "{rule:?}");
            input.step_at(&mut other, Degradation::ThetaStar);
            let again = input.step(&mut after_others);
            assert!(bytes(&again) == expected, "{rule:?} beside another loop");
        }
        let (input, outcome) = walked.last().unwrap();
        let other = input.step(&mut other);
        assert_ne!(other.command, outcome.command, "the seed must matter");
    }
}

#[test]
fn a_step_on_a_changed_robot_lowers_its_prediction_error() {
    let runtime = runtime();
    let robot = robot(Rule::OneStep);
    let mut tick = tick(&runtime, &robot, 0);
    let walked = Walker::new(&robot, &["lose-middle-left@0s"], 0).walk(&mut tick, 120);
    let full = &walked[40..];
    let adapted = full
        .iter()
        .filter(|(_, outcome)| adaptation(outcome).decision() == Decision::Adapted);
    assert!(adapted.count() > full.len() / 2, "it adapts in most ticks");
    let mean = |error: fn(&Adaptation) -> Option<f32>| {
        let errors = full.iter().filter_map(|(_, o)| error(adaptation(o)));
        errors.sum::<f32>() / full.len() as f32
    };
    let (star, used) = (mean(|a| a.error_star), mean(|a| a.error_used));
    assert!(used < 0.9 * star, "error {star} -> {used}");
}

#[test]
fn without_a_rule_the_parameters_never_change() {
    let runtime = runtime();
    let robot = robot(Rule::None);
    let mut tick = tick(&runtime, &robot, 0);
    let walked = Walker::new(&robot, &["lose-middle-left@0s"], 0).walk(&mut tick, 60);
    let hash = &adaptation(&walked[0].1).parameter_hash;
    assert_eq!(hash.len(), 16);
    for (_, outcome) in &walked {
        assert_eq!(adaptation(outcome).decision(), Decision::Off);
        assert_eq!(&adaptation(outcome).parameter_hash, hash);
        assert_eq!(
            adaptation(outcome).error_star,
            adaptation(outcome).error_used
        );
    }
}

#[test]
fn a_state_that_is_not_finite_reuses_the_plan_twice_and_then_is_safe() {
    let runtime = runtime();
    let robot = robot(Rule::OneStep);
    let model = support::model(&runtime);
    let mut tick = tick(&runtime, &robot, 0);
    let mut walker = Walker::new(&robot, &[], 0);
    walker.walk(&mut tick, 8);
    for (channel, bad) in (0..robot.observation.len()).zip(
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
            .into_iter()
            .cycle(),
    ) {
        let name = &robot.observation[channel].name;
        let is_state = model.contract.state.iter().any(|state| &state.name == name);
        let window = |outcome: &Outcome| adaptation(outcome).window;
        let before = walker.walk(&mut tick, 2).pop().unwrap().1;
        let expected = if is_state {
            [
                Degradation::ReusedPlan,
                Degradation::ReusedPlan,
                Degradation::Safe,
            ]
        } else {
            [Degradation::None; 3]
        };
        for expected in expected {
            let mut input = walker.input();
            input.values[channel] = bad;
            let outcome = input.step(&mut tick);
            assert_safe(&robot, &outcome);
            assert_eq!(outcome.record.degradation(), expected, "{name} = {bad}");
            assert!(outcome.fault.is_none());
            if is_state {
                assert!(!outcome.record.transition);
                assert_eq!(
                    window(&outcome),
                    window(&before),
                    "nothing is learnt from it"
                );
            }
            walker.apply(outcome.command.first());
        }
        let after = walker.walk(&mut tick, 1).pop().unwrap().1;
        assert_eq!(after.record.degradation(), Degradation::None);
        assert_eq!(after.record.transition, !is_state, "{name}");
    }
}

#[test]
fn the_safe_command_is_the_robots_safe_action() {
    let runtime = runtime();
    let robot = robot(Rule::OneStep);
    let mut tick = tick(&runtime, &robot, 0);
    let mut walker = Walker::new(&robot, &[], 0);
    walker.walk(&mut tick, 3);
    let outcome = walker.input().step_at(&mut tick, Degradation::Safe);
    let safe: Vec<f32> = robot.action.iter().map(|action| action.safe).collect();
    assert_eq!(outcome.command.first(), safe);
    assert!(outcome.record.guard.unwrap().fallback);
}

#[test]
fn commands_follow_each_other_within_the_rate_limit() {
    const RATE: f32 = 50.0;
    let runtime = runtime();
    let mut robot = robot(Rule::OneStep);
    for limiter in &mut robot.limiters {
        let limit = limiter.limit();
        *limiter = Limiter::new(Limit {
            rate: RATE,
            ..limit
        })
        .unwrap();
    }
    let reach = RATE * robot.period_s() as f32;
    let mut tick = tick(&runtime, &robot, 0);
    let mut before: Vec<f32> = robot.action.iter().map(|action| action.safe).collect();
    let mut fastest = 0.0f32;
    for (_, outcome) in Walker::new(&robot, &[], 0).walk(&mut tick, 20) {
        let mut last = before;
        for action in outcome.command.actions().chunks(robot.action.len()) {
            for (value, last) in action.iter().zip(&last) {
                assert!((value - last).abs() <= 1.0001 * reach, "{last} -> {value}");
                fastest = fastest.max(*value);
            }
            last = action.to_vec();
        }
        before = outcome.command.first().to_vec();
    }
    assert!(
        fastest > 3.0 * reach,
        "it speeds up over some ticks: {fastest}"
    );
}

#[test]
fn absurd_values_never_reach_the_robot() {
    let runtime = runtime();
    let robot = robot(Rule::Continued);
    let mut tick = tick(&runtime, &robot, 0);
    let mut walker = Walker::new(&robot, &[], 0);
    walker.walk(&mut tick, 8);
    for channel in 0..robot.observation.len() {
        for absurd in [f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e20, -1e6] {
            let mut input = walker.input();
            input.values[channel] = absurd;
            input.applied[0] = absurd;
            let outcome = input.step(&mut tick);
            assert_safe(&robot, &outcome);
            walker.apply(outcome.command.first());
        }
    }
    let mut input = walker.input();
    input.values.fill(f32::MAX);
    assert_safe(&robot, &input.step(&mut tick));
    // It has forgotten them once the window has turned over.
    let walked = walker.walk(&mut tick, 80);
    let good = walked[40..]
        .iter()
        .all(|(_, o)| o.record.plan_cost.is_some_and(f32::is_finite));
    assert!(good, "{:?}", walked.last().unwrap().1.record);
}

#[test]
fn nothing_is_learnt_across_a_gap_in_time() {
    let runtime = runtime();
    let robot = robot(Rule::OneStep);
    let period = u64::from(robot.period_us());
    for (late_us, transition) in [
        (0, true),
        (period / 5, true),
        (period / 2, false),
        (period, false),
        (10 * period, false),
    ] {
        let mut tick = tick(&runtime, &robot, 0);
        let mut walker = Walker::new(&robot, &[], 0);
        let before = walker.walk(&mut tick, 10).pop().unwrap().1;
        let mut input = walker.input();
        input.robot_time_us += late_us;
        let outcome = input.step(&mut tick);
        assert_eq!(outcome.record.transition, transition, "{late_us} us late");
        let window = adaptation(&outcome).window - adaptation(&before).window;
        assert_eq!(window, u32::from(transition));
        assert_eq!(adaptation(&outcome).error_star.is_some(), transition);
        assert_safe(&robot, &outcome);
    }
}

#[test]
fn an_unarmed_robot_teaches_nothing() {
    let runtime = runtime();
    let robot = robot(Rule::OneStep);
    let mut tick = tick(&runtime, &robot, 0);
    let mut walker = Walker::new(&robot, &[], 0);
    walker.walk(&mut tick, 10);
    let input = walker.input();
    let observation = surefoot::tick::Observation {
        tick: input.tick,
        robot_time_us: input.robot_time_us,
        armed: false,
        values: &input.values,
        applied: &input.applied,
    };
    let outcome = tick.step(&observation, Degradation::None);
    assert!(!outcome.record.transition);
    assert_eq!(
        adaptation(&outcome).window,
        0,
        "and what it taught is forgotten"
    );
    assert_safe(&robot, &outcome);
}

#[test]
fn every_rung_of_the_ladder_gives_a_valid_command() {
    let runtime = runtime();
    let robot = robot(Rule::OneStep);
    let mut tick = tick(&runtime, &robot, 0);
    let mut walker = Walker::new(&robot, &["lose-middle-left@0s"], 0);
    let walked = walker.walk(&mut tick, 50);
    let star = adaptation(&walked[0].1).parameter_hash.clone();
    let mut last = adaptation(&walked.last().unwrap().1).parameter_hash.clone();
    let rungs = [
        Degradation::ReusedPlan,
        Degradation::ShedAdaptation,
        Degradation::None,
        Degradation::ThetaStar,
        Degradation::Safe,
        Degradation::ReusedPlan,
        Degradation::None,
    ];
    for wanted in rungs {
        let input = walker.input();
        let outcome = input.step_at(&mut tick, wanted);
        assert_safe(&robot, &outcome);
        assert_eq!(outcome.record.degradation(), wanted);
        let horizon = robot.plan.horizon * robot.action.len();
        assert_eq!(outcome.plan.actions.len(), horizon);
        let planned = matches!(
            wanted,
            Degradation::None | Degradation::ShedAdaptation | Degradation::ThetaStar
        );
        assert_eq!(outcome.record.plan_cost.is_some(), planned, "{wanted:?}");
        let found = adaptation(&outcome);
        match wanted {
            Degradation::None => assert_ne!(found.decision(), Decision::Shed),
            Degradation::ReusedPlan | Degradation::ShedAdaptation => {
                assert_eq!(found.decision(), Decision::Shed);
                assert_eq!(
                    found.parameter_hash, last,
                    "{wanted:?} keeps the parameters"
                );
            }
            Degradation::ThetaStar | Degradation::Safe => {
                assert_eq!(found.decision(), Decision::Shed);
                assert_eq!(found.parameter_hash, star, "{wanted:?} takes theta*");
            }
        }
        last.clone_from(&found.parameter_hash);
        walker.apply(outcome.command.first());
    }
}

/// What the loop does with inputs that are spoiled again and again, the first of which is given too.
fn held(spoil: impl Fn(&mut support::Input, &support::Input)) -> Vec<Outcome> {
    let runtime = runtime();
    let robot = robot(Rule::OneStep);
    let mut tick = tick(&runtime, &robot, 0);
    let mut walker = Walker::new(&robot, &[], 0);
    walker.walk(&mut tick, 12);
    let last = walker.input();
    let again = |_| {
        let mut input = walker.input();
        spoil(&mut input, &last);
        let outcome = input.step(&mut tick);
        assert_safe(&robot, &outcome);
        walker.apply(outcome.command.first());
        outcome
    };
    (0..5).map(again).collect()
}

/// From some tick on, two ticks that reuse the last plan, then the safe state for good.
fn assert_gives_up(outcomes: &[Outcome], lost: Lost) {
    assert!(outcomes.iter().all(|outcome| outcome.lost == Some(lost)));
    let rungs: Vec<_> = outcomes.iter().map(|o| o.record.degradation()).collect();
    let (reused, safe) = rungs.split_at(2);
    assert_eq!(reused, [Degradation::ReusedPlan; 2]);
    assert!(
        safe.iter().all(|rung| *rung == Degradation::Safe),
        "{rungs:?}"
    );
    assert!(
        outcomes[2..]
            .iter()
            .all(|o| o.command.first() == [0.0, 0.0])
    );
}

#[test]
fn a_state_for_which_no_plan_has_a_finite_cost_ends_in_the_safe_state() {
    assert_gives_up(&held(|input, _| input.values[0] = 1e30), Lost::NoPlan);
}

#[test]
fn sensors_that_stand_still_while_the_robot_is_driven_end_in_the_safe_state() {
    let outcomes = held(|input, last| {
        input.values.clone_from(&last.values);
        input.applied = vec![20.0, 30.0];
    });
    assert_eq!(outcomes[0].lost, None, "the first of them is new");
    assert_gives_up(&outcomes[1..], Lost::Frozen);
}

#[test]
fn a_robot_that_is_told_to_stand_still_may_do_so() {
    let outcomes = held(|input, last| {
        input.values.clone_from(&last.values);
        input.applied = vec![0.0, 0.0];
    });
    assert!(outcomes.iter().all(|outcome| outcome.lost.is_none()));
}

#[test]
fn a_gate_that_holds_out_the_whole_window_is_refused() {
    let (runtime, mut robot) = (runtime(), robot(Rule::OneStep));
    robot.adapt.gate_holdout = 32;
    let refused = surefoot::tick::Tick::new(&runtime, &support::model(&runtime), &robot, 0, || 0);
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("gate_holdout = 32"), "{message}");
}
