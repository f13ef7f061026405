//! The campaigns that are too long for every change: `prove frames 1000000000`, `prove limits`.

use std::{process::ExitCode, thread};

use hil_tests::{damage, limits};

const USAGE: &str =
    "usage: prove frames COUNT   damage COUNT frames; none may be taken for another message
       prove limits         every 32-bit pattern through the limiter; none may pass it";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let holds = match words[..] {
        ["frames", count] => count.parse().ok().map(frames),
        ["limits"] => Some(every_pattern()),
        _ => None,
    };
    match holds {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn workers() -> u64 {
    thread::available_parallelism().map_or(1, |count| count.get() as u64)
}

fn frames(count: u64) -> bool {
    let share = count.div_ceil(workers());
    let campaigns: Vec<_> = (0..workers())
        .map(|seed| thread::spawn(move || damage::campaign(seed, share)))
        .collect();
    let mut wrong = 0;
    for (seed, campaign) in campaigns.into_iter().enumerate() {
        let Ok(tally) = campaign.join() else {
            println!("seed {seed}: a decoder panicked");
            return false;
        };
        println!(
            "seed {seed}: {} damaged, {} intact beside them, {} wrong",
            tally.damaged, tally.intact, tally.wrong
        );
        wrong += tally.wrong;
    }
    wrong == 0
}

fn every_pattern() -> bool {
    let share = u64::from(u32::MAX).div_ceil(workers());
    let searches: Vec<_> = (0..workers())
        .map(|worker| {
            let from = (worker * share) as u32;
            let to = (worker * share + share).min(u64::from(u32::MAX)) as u32;
            thread::spawn(move || limits::first_through_limiter(from, to, 1))
        })
        .collect();
    let passed: Vec<_> = searches.into_iter().map(|search| search.join()).collect();
    let holds = passed.iter().all(|found| matches!(found, Ok(None)));
    println!(
        "2^32 patterns: {}",
        if holds { "none passes" } else { "some pass" }
    );
    for found in passed {
        println!("{found:?}");
    }
    holds
}
