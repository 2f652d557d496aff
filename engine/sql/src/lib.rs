//! From Spark's SQL to a StreamPlan
