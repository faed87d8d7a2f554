//! How often, and after which delays, something is killed.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{Ran, Scene};

/// How many rounds each command gets when nobody says.
const ROUNDS: u32 = 12;

/// The delays of one command's rounds, and what became of them.
pub(super) struct Rounds {
    what: &'static str,
    rounds: u32,
    done: u32,
    killed: u32,
    seed: u64,
    state: u64,
    /// How long an undisturbed run took.
    measured: Duration,
    /// How long one is thought to take now.
    usual: Duration,
}

impl Rounds {
    /// Measures an undisturbed run of the command that `prepare` makes: the fastest of four, for
    /// the first one pays for cold caches.
    pub(super) fn measure(what: &'static str, mut prepare: impl FnMut() -> Command) -> Self {
        let times = [(); 4].map(|()| {
            let mut command = prepare();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let start = Instant::now();
            let status = command.status().unwrap();
            assert!(status.success(), "{command:?}, undisturbed: {status}");
            start.elapsed()
        });
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = number("WALBROOK_KILL_SEED").unwrap_or(clock.subsec_nanos().into());
        let rounds = number("WALBROOK_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds as u32);
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what.len() as u64 | 1;
        let measured = times.into_iter().min().unwrap();
        let rounds =
            Self { what, rounds, done: 0, killed: 0, seed, state, measured, usual: measured };
        println!("{rounds}");
        rounds
    }

    /// Where in a run the next round kills, as a part of its usual time; none when all are done.
    /// Every other round aims at the last part, in which a command commits.
    fn next_moment(&mut self) -> Option<f64> {
        // Where the machine's load made most rounds miss, more of them follow.
        let enough = self.killed * 3 >= self.rounds;
        if self.done >= self.rounds && (enough || self.done >= self.rounds * 5) {
            return None;
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let random = (self.state >> 11) as f64 / (1u64 << 53) as f64;
        // Each round has a part of the whole to itself, so that few rounds do not cluster.
        let spread = (f64::from(self.done % self.rounds) + random) / f64::from(self.rounds);
        self.done += 1;
        Some(if self.done.is_multiple_of(2) { 0.6 + 0.45 * spread } else { spread })
    }

    /// The next round: runs `command` and kills it. Tells which round it is, from 1, and whether the
    /// command was killed, and did not come to its end before.
    pub(super) fn kill_next(
        &mut self,
        command: impl FnOnce(u32) -> Command,
    ) -> Option<(u32, bool)> {
        let moment = self.next_moment()?;
        let delay = self.usual.mul_f64(moment);
        let mut command = command(self.done);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        thread::sleep(delay);
        // One that has ended by itself is not reaped yet: this does no harm to any other process.
        child.kill().unwrap();
        let killed = child.wait().unwrap().signal() == Some(9);
        self.killed += u32::from(killed);
        // Other load on the machine comes and goes: the delays follow it.
        self.usual = match killed {
            true if moment > 0.9 => self.usual.mul_f64(1.1),
            false if moment < 0.9 => self.usual.mul_f64(0.7),
            _ => self.usual,
        };
        // Not so far that only the start of the process would be hit.
        self.usual = self.usual.clamp(self.measured / 8, self.measured * 3);
        // Shown when the test fails.
        println!("round {}: {} after {delay:?}, killed: {killed}", self.done, self.what);
        Some((self.done, killed))
    }

    /// A round is over: tells how far the rounds are.
    pub(super) fn passed(&self) {
        if self.done.is_multiple_of(10) || self.done >= self.rounds {
            println!("{self}");
        }
    }

    /// All rounds are over. Most of them must have killed something: otherwise nothing was shown.
    pub(super) fn finish(self) {
        assert!(self.done >= self.rounds);
        assert!(self.killed * 3 >= self.rounds, "too few runs were killed in time: {self}");
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, rounds, done, killed, seed, usual, .. } = self;
        let usual = usual.as_millis();
        // `cargo xtask soak` looks for lines that begin like this.
        write!(
            f,
            "kill: {what}: {done} of {rounds} rounds, {killed} killed before their end; \
             a run takes {usual} ms, seed {seed}"
        )
    }
}

impl Scene {
    /// A second run, which must succeed, with what it has to say if it does not.
    #[track_caller]
    pub(super) fn again(&self, round: u32, name: &str, args: &[&str]) -> Ran {
        let ran = self.run(name, args);
        assert_eq!(ran.code, Some(0), "round {round}: {name} {args:?}: {}", ran.stderr);
        ran
    }
}
