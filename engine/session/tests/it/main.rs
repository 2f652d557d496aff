//! A DataFrame against SQL.

mod frames;
mod twins;
