//! What the process takes of the machine, as Linux tells (proc(5)). Elsewhere nothing is known, and nothing is shown.

/// Clock ticks per second in `/proc`: the kernel's interface to programs fixes it, whatever the kernel's own clock does.
const TICKS: f64 = 100.0;

/// Seconds of processor time since the start.
pub(super) fn cpu_seconds() -> Option<f64> {
    parse_cpu(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// Bytes of memory in use.
pub(super) fn resident_bytes() -> Option<u64> {
    parse_resident(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Fields 14 and 15, user and system time. Field 2 is the program's name in brackets and may hold anything.
fn parse_cpu(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS);
    Some(seconds()? + seconds()?)
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_does_not_shift_the_fields() {
        let stat = "7 (a b) 0 ) S 1 7 7 0 -1 4194304 1 2 3 4 250 150 0 0 20 0";
        assert_eq!(parse_cpu(stat), Some(4.0));
        assert_eq!(parse_cpu("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_from_its_line() {
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(parse_resident("Name:\tx\n"), None);
    }
}
