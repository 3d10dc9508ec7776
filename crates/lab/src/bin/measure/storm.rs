//! A command many times at once.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;

use crate::Result;
use crate::line::Line;

/// What this program is called with in the processes that become the command.
pub const GATED: &str = "gated";

/// Waits until the gate opens, and becomes the command.
pub fn wait_at_the_gate(words: &[&str]) -> Result {
    let (number, words) = words.split_first().ok_or("no number")?;
    let mut command = Line::parse(words)?.command(number.parse()?);
    io::stdin().read_to_end(&mut Vec::new())?;
    Err(command.exec().into())
}

/// How often to look whether one has ended.
const LOOK: Duration = Duration::from_millis(1);

/// Prints how many did what they should, when the first and the last of these had, and what the others
/// said. The status of these is that of their exit, minus the number of a signal, or null: not over in
/// time.
pub fn run(count: usize, seconds: u64, words: &[&str]) -> Result {
    let place = std::env::temp_dir().join(format!("storm-{}", std::process::id()));
    fs::create_dir(&place)?;
    let (gate, opener) = io::pipe()?;
    let own = std::env::current_exe()?;
    let mut running = HashMap::new();
    for number in 0..count {
        let said = place.join(number.to_string());
        // Behind us, so that we see their end when it comes.
        let child = Command::new("nice")
            .arg(&own)
            .args([GATED, &number.to_string()])
            .args(words)
            .stdin(Stdio::from(gate.try_clone()?))
            .stdout(Stdio::null())
            .stderr(File::create(&said)?)
            .spawn()?;
        running.insert(Pid::from_raw(child.id().try_into()?), said);
    }
    drop(gate);
    let begin = Instant::now();
    drop(opener);
    let give_up = begin + Duration::from_secs(seconds);
    let mut ended = Vec::new();
    while !running.is_empty() {
        let (process, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(process, status)) => (process, status),
            Ok(WaitStatus::Signaled(process, signal, _)) => (process, -(signal as i32)),
            Ok(_) if Instant::now() < give_up => {
                thread::sleep(LOOK);
                continue;
            }
            Ok(_) => break,
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(said) = running.remove(&process) {
            ended.push((Some(status), begin.elapsed(), said));
        }
    }
    for (process, said) in running {
        let _ = kill(process, Signal::SIGKILL);
        ended.push((None, begin.elapsed(), said));
    }
    let mut good: Vec<f64> = ended
        .iter()
        .filter(|(status, ..)| *status == Some(0))
        .map(|(_, after, _)| after.as_secs_f64())
        .collect();
    good.sort_by(f64::total_cmp);
    let mut failures: BTreeMap<(Option<i32>, String), usize> = BTreeMap::new();
    for (status, _, said) in ended.iter().filter(|(status, ..)| *status != Some(0)) {
        let said = fs::read(said)?;
        let said = String::from_utf8_lossy(&said[..said.len().min(4096)]).into_owned();
        *failures.entry((*status, said)).or_default() += 1;
    }
    fs::remove_dir_all(&place)?;
    let failures: Vec<_> = failures
        .into_iter()
        .map(|((status, said), count)| json!({"status": status, "said": said, "count": count}))
        .collect();
    println!(
        "{}",
        json!({
            "count": count,
            "good": good.len(),
            "first_s": good.first(),
            "median_s": good.get(good.len() / 2),
            "last_s": good.last(),
            "failures": failures,
        })
    );
    Ok(())
}
