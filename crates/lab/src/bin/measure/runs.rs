//! Commands many times, in turn, so that what else the machine does hits all of them alike.

use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};

use crate::Result;
use crate::line::Line;

/// Prints for each command medians of wall and CPU time, the quartiles of the wall time, and how much more
/// both are than those of the first command in the same round, as a median.
pub fn run(runs: usize, lines: &[Line]) -> Result {
    let mut times: Vec<Times> = lines.iter().map(|_| Times::default()).collect();
    for run in 1..=runs.max(1) {
        for (line, times) in lines.iter().zip(&mut times) {
            let before = spent(&getrusage(UsageWho::RUSAGE_CHILDREN)?);
            let begin = Instant::now();
            let output = line.command(run).output()?;
            times.wall.push(begin.elapsed());
            let after = spent(&getrusage(UsageWho::RUSAGE_CHILDREN)?);
            times.cpu.push(after.saturating_sub(before));
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("{}: {}: {said}", line.program(), output.status).into());
            }
        }
    }
    let times_of_first = times.first().cloned().unwrap_or_default();
    let more = |of: fn(&Times) -> &Vec<Duration>, times: &Times| {
        let more = of(times).iter().zip(of(&times_of_first));
        let mut more: Vec<f64> = more
            .map(|(this, first)| milliseconds(*this) - milliseconds(*first))
            .collect();
        more.sort_by(f64::total_cmp);
        more[more.len() / 2]
    };
    for times in times {
        let more_wall = more(|times| &times.wall, &times);
        let more_cpu = more(|times| &times.cpu, &times);
        let Times { mut wall, mut cpu } = times;
        wall.sort();
        cpu.sort();
        println!(
            r#"{{"wall_ms": {:.3}, "wall_low_ms": {:.3}, "wall_high_ms": {:.3}, "cpu_ms": {:.3}, "more_ms": {more_wall:.3}, "more_cpu_ms": {more_cpu:.3}}}"#,
            milliseconds(wall[wall.len() / 2]),
            milliseconds(wall[wall.len() / 4]),
            milliseconds(wall[wall.len() * 3 / 4]),
            milliseconds(cpu[cpu.len() / 2])
        );
    }
    Ok(())
}

#[derive(Clone, Default)]
struct Times {
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

fn spent(usage: &Usage) -> Duration {
    let time = usage.user_time() + usage.system_time();
    let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
    Duration::from_micros(micros.unsigned_abs())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
