//! The whole protocol against a disk that dies at every operation and files damaged at every byte.

mod codes;
mod corruption;
mod crash;
mod packs;
mod report;
mod resume_table;
mod store;
mod toy;
mod word;
