//! A DataFrame against SQL.

mod batch;
mod frames;
mod twins;
