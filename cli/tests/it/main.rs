//! The command as a process: killed, doubled, given another's checkpoint; threads that panic; several queries; files
//! of all kinds.

mod checkpoint;
mod crash;
mod files;
mod panics;
mod process;
mod progress;
mod several;
mod vanish;
