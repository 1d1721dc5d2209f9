//! The moments in a job's life at which a test lets the process die by SIGKILL.
//!
//! Without the feature `crashpoints`, which no released binary has, [`here`] is empty and nothing is linked. With it,
//! the variable `CRASH_AT=claimed#2` kills the process on its second passage of that point, as the kernel would: no
//! destructor, no flush, no message. Deliberately absent: any other death (panic, exit), any delay, any switch at run
//! time.

/// A step after which a crash must lose nothing and double nothing, in the order of a job's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The accepting transaction (appointment, slot, job) has committed; nobody has been told.
    AcceptCommitted,
    /// The job's id has been pushed into Redis; the ledger does not know it yet.
    Dispatched,
    /// The claim has committed: this worker holds the lease and has done nothing.
    Claimed,
    /// The act is done (Cal.com has answered), the settle has not begun.
    Answered,
    /// The settle has committed; the queue has not been told.
    Settled,
}

impl Point {
    /// Every point, in the order of a job's life; for tests that die at each step in turn.
    pub const ALL: [Self; 5] = [Self::AcceptCommitted, Self::Dispatched, Self::Claimed, Self::Answered, Self::Settled];

    /// The name by which `CRASH_AT` calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcceptCommitted => "accept_committed",
            Self::Dispatched => "dispatched",
            Self::Claimed => "claimed",
            Self::Answered => "answered",
            Self::Settled => "settled",
        }
    }
}

/// Says that the process has reached `point`. Does nothing in a build without the feature `crashpoints`.
#[cfg(not(feature = "crashpoints"))]
#[inline(always)]
pub fn here(_point: Point) {}

/// Says that the process has reached `point`: if this is the passage that `CRASH_AT` names, the process is gone before
/// this function returns. A `CRASH_AT` that names nothing ends the process with status 2 at its first passage of any
/// point, so that a misspelt test does not pass by never crashing.
#[cfg(feature = "crashpoints")]
pub fn here(point: Point) {
    armed::passage(point);
}

#[cfg(feature = "crashpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Point;

    /// The passage at which to die: the n-th (counted from 1) of one point.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Target {
        pub(super) point: Point,
        pub(super) nth: u32,
    }

    /// Reads `claimed#2`; a bare `claimed` is its first passage.
    pub(super) fn parse(text: &str) -> Result<Target, String> {
        let (name, nth) = text.split_once('#').unwrap_or((text, "1"));
        let point = Point::ALL.into_iter().find(|point| point.name() == name);
        let point = point.ok_or_else(|| format!("CRASH_AT={text}: there is no point `{name}`"))?;
        let nth = nth.parse().ok().filter(|nth| *nth > 0);
        let nth = nth.ok_or_else(|| format!("CRASH_AT={text}: the passage is a number from 1"))?;
        Ok(Target { point, nth })
    }

    pub(super) fn passage(point: Point) {
        static TARGET: OnceLock<Option<Target>> = OnceLock::new();
        static PASSAGES: AtomicU32 = AtomicU32::new(0);
        let target = TARGET.get_or_init(|| {
            let text = std::env::var("CRASH_AT").ok()?;
            Some(parse(&text).unwrap_or_else(|wrong| {
                eprintln!("{wrong}");
                std::process::exit(2)
            }))
        });
        let Some(target) = target.as_ref().filter(|target| target.point == point) else { return };
        if PASSAGES.fetch_add(1, Ordering::SeqCst).wrapping_add(1) == target.nth {
            let killed = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
            eprintln!("CRASH_AT: SIGKILL to oneself answered {killed:?}");
            // Another thread may take the signal a moment later: this one must not pass in the meantime.
            loop {
                std::thread::park();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct() {
        for (index, point) in Point::ALL.into_iter().enumerate() {
            assert!(Point::ALL[..index].iter().all(|earlier| earlier.name() != point.name()));
        }
    }

    /// Run by itself it shows that without `CRASH_AT` nothing happens; it is also the child of the tests below.
    #[test]
    fn passes_each_point_twice() {
        for point in Point::ALL.into_iter().chain(Point::ALL) {
            here(point);
        }
    }

    #[cfg(feature = "crashpoints")]
    mod in_a_child {
        use std::os::unix::process::ExitStatusExt;
        use std::process::{Command, ExitStatus};

        use super::super::{Point, armed};

        fn child(crash_at: &str) -> ExitStatus {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "tests::passes_each_point_twice"])
                .env("CRASH_AT", crash_at)
                .status()
                .unwrap()
        }

        #[test]
        fn dies_by_sigkill_at_the_named_passage_only() {
            for point in Point::ALL {
                assert_eq!(child(&format!("{}#1", point.name())).signal(), Some(9), "{point:?}");
                assert_eq!(child(&format!("{}#2", point.name())).signal(), Some(9), "{point:?}");
                assert!(child(&format!("{}#3", point.name())).success(), "there is no third passage of {point:?}");
            }
        }

        #[test]
        fn a_misspelt_point_is_no_silent_success() {
            assert_eq!(child("clamed#1").code(), Some(2));
            assert_eq!(child("claimed#0").code(), Some(2));
        }

        #[test]
        fn a_bare_name_is_the_first_passage() {
            assert_eq!(armed::parse("settled"), Ok(armed::Target { point: Point::Settled, nth: 1 }));
        }
    }
}
