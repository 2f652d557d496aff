//! What tests of streaming behaviour need: scripts, the host that plays them on the engine, and the
//! oracle that answers random queries by another way.

pub mod baton;
pub mod host;
pub mod oracle;
pub mod script;
