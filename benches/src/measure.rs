//! [`compare`]: two things timed in turn, and their ratio; [`alone`]: one thing.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Does its preparation, then what is measured, and returns the time of the latter. It gets the
/// number of the run; 0 is a warm-up that is not counted.
pub(crate) type Run<'a> = &'a mut dyn FnMut(usize) -> Result<Duration>;

/// Times `ours` and `peer` in turn and prints both, and the ratio of each pair.
pub(crate) fn compare(
    runs: usize,
    (name, ours): (&str, Run),
    (peer_name, peer): (&str, Run),
) -> Result<()> {
    let mut times = (Vec::new(), Vec::new());
    for number in 0..=runs {
        let pair = (ours(number)?, peer(number)?);
        if number > 0 {
            times.0.push(pair.0.as_secs_f64());
            times.1.push(pair.1.as_secs_f64());
        }
    }
    // Of pairs, so that a machine whose speed drifts does not change it.
    let ratios = times.0.iter().zip(&times.1).map(|(a, b)| a / b).collect();
    print_times(name, times.0);
    print_times(peer_name, times.1);
    let (median, min, max) = spread(ratios);
    println!("  {:<44} {median:>8.2} x   ({min:.2} to {max:.2}, {runs} pairs)", "ratio");
    Ok(())
}

/// Times one thing and prints it.
pub(crate) fn alone(runs: usize, name: &str, run: Run) -> Result<()> {
    let times: Result<Vec<_>> = (0..=runs).map(run).collect();
    print_times(name, times?.iter().skip(1).map(Duration::as_secs_f64).collect());
    Ok(())
}

/// Runs a program to its end and returns how long that took. Any exit code but `expected` is an
/// error with what the program said.
pub(crate) fn time(command: &mut Command, expected: i32) -> Result<Duration> {
    let start = Instant::now();
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let took = start.elapsed();
    if output.status.code() != Some(expected) {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(took)
}

fn print_times(name: &str, times: Vec<f64>) {
    let (median, min, max) = spread(times);
    if median < 1.0 {
        let ms = |seconds: f64| seconds * 1e3;
        println!("  {name:<44} {:>8.2} ms  ({:.2} to {:.2})", ms(median), ms(min), ms(max));
    } else {
        println!("  {name:<44} {median:>8.3} s   ({min:.3} to {max:.3})");
    }
}

/// Median, least and greatest.
pub(crate) fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = match values.len() {
        0 => f64::NAN,
        n if n % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    };
    let end = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
    (median, end(values.first()), end(values.last()))
}
