//! Plans as text: statements go in, explanations or errors come out.

mod cases;
mod fixture;
mod identity;
mod modes;
mod plans;
mod refusals;
mod statements;
mod values;
