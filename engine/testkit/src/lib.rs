//! Stream scripts, the batch oracle, the baton scheduler and generators

pub mod script;
