//! Operators over epochs of Arrow batches on timely and differential dataflow
