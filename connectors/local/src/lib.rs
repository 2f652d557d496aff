//! Sources and sinks that need no service: files, memory, console, rate, nexmark
