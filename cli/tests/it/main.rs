//! The command as a process: killed, doubled, given another's checkpoint; and threads that panic.

mod crash;
mod panics;
mod process;
