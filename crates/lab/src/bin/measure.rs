//! Runs a command many times and prints what one run costs: `measure 50 sinfo -h`.
//!
//! One line of JSON: median wall and CPU time of a run in milliseconds, the CPU time of all runs, and
//! the largest peak memory of all runs in KiB. It runs inside a container, beside the command.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [runs, program, rest @ ..] => match measure(runs, program, rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: measure RUNS COMMAND [ARGUMENT]...");
            ExitCode::from(2)
        }
    }
}

fn measure(
    runs: &str,
    program: &str,
    arguments: &[String],
) -> Result<(), Box<dyn std::error::Error>> {
    let runs: usize = runs.parse()?;
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..runs.max(1) {
        let before = spent(&getrusage(UsageWho::RUSAGE_CHILDREN)?);
        let begin = Instant::now();
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        wall.push(begin.elapsed());
        cpu.push(spent(&getrusage(UsageWho::RUSAGE_CHILDREN)?).saturating_sub(before));
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{program}: {}: {said}", output.status).into());
        }
    }
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    let all: Duration = cpu.iter().sum();
    println!(
        r#"{{"wall_ms": {:.2}, "cpu_ms": {:.2}, "cpu_all_ms": {}, "peak_kib": {peak}}}"#,
        median(wall),
        median(cpu),
        all.as_millis()
    );
    Ok(())
}

fn spent(usage: &Usage) -> Duration {
    let time = usage.user_time() + usage.system_time();
    let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
    Duration::from_micros(micros.unsigned_abs())
}

/// In milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
