//! Stream scripts against a hand-written host: cells, parsing, playing, rewriting, and our own suite.

mod added;
mod baton;
mod cells;
mod clock;
mod engine;
mod every_function;
mod former;
mod host;
mod late;
mod mended;
mod oracle;
mod parse;
mod play;
mod suite;
mod triggers;
mod volatile_functions;
