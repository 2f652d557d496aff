//! Millstream: Spark Structured Streaming's programs as a native library
