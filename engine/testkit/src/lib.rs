//! What tests of streaming behaviour need: scripts and the host that plays them on the engine.

pub mod baton;
pub mod host;
pub mod script;
