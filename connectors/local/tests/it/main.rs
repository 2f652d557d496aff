//! The connectors from outside, with every allocation counted.

mod hostile;
mod lines;
mod memory;
