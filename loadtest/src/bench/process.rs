//! CPU time and memory of processes, by the kernel's account in `/proc` (see `man 5 proc`).

use std::collections::{HashMap, HashSet};
use std::time::Duration;
use std::{fs, io};

/// Clock ticks per second in `/proc/PID/stat`. The kernel's `USER_HZ`, 100 on every architecture this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// What processes have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all their threads, also of those that have ended.
    pub cpu: Duration,
    /// Memory that is theirs and resident, in KiB.
    pub resident_kib: u64,
}

/// The usage so far of these processes and all their descendants.
///
/// # Errors
/// When one of the processes is gone: its figures would be missing from the difference.
pub fn usage(pids: &[u32]) -> io::Result<Usage> {
    let mut usage = Usage::default();
    for pid in with_descendants(pids)? {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        usage.cpu += cpu(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat reads strangely")))?;
        usage.resident_kib += resident_kib(&status).unwrap_or(0);
    }
    Ok(usage)
}

fn with_descendants(pids: &[u32]) -> io::Result<HashSet<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that ended since the folder was read has no children to count.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if let Some(parent) = field(&stat, 4).and_then(|parent| u32::try_from(parent).ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = HashSet::new();
    let mut open = pids.to_vec();
    while let Some(pid) = open.pop() {
        if found.insert(pid) {
            open.extend(children.get(&pid).into_iter().flatten());
        }
    }
    Ok(found)
}

/// Fields 14 and 15: time in user and in kernel mode.
fn cpu(stat: &str) -> Option<Duration> {
    let ticks = field(stat, 14)? + field(stat, 15)?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// A numeric field by its number in the manual. The name, field 2, stands in brackets and may hold anything.
fn field(stat: &str, number: usize) -> Option<u64> {
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 9 0 0 0 123 45 0 0 20 0 1 0 240184 3133440";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1_680)));
        assert_eq!(field(stat, 4), Some(1));
    }

    #[test]
    fn work_done_here_is_counted_here() {
        let me = [std::process::id()];
        let before = usage(&me).expect("this process exists");
        let until = Instant::now() + Duration::from_millis(300);
        let mut sum = 0_u64;
        while Instant::now() < until {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = usage(&me).expect("this process exists").cpu - before.cpu;
        // Other work on the machine may have taken part of the time.
        assert!(used >= Duration::from_millis(30), "{used:?}");
        assert!(before.resident_kib > 0);
    }
}
