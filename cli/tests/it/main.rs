//! The command as a process: killed, doubled, given another's checkpoint; threads that panic; several queries.

mod checkpoint;
mod crash;
mod panics;
mod process;
mod progress;
mod several;
