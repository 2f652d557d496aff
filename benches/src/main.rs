//! Benchmarks: Nexmark, operators, the hand-written bound
fn main() {}
