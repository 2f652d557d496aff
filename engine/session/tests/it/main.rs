//! A DataFrame against SQL.

mod batch;
mod duplicates;
mod frames;
mod twins;
