//! Whose checkpoint this is.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::codec::{DecodeError, Kind, Reader, TooLong, Writer};

pub(crate) const METADATA: Kind = Kind {
    magic: *b"MSmd",
    version: 1,
    body_bytes_max: 1 << 24,
};

/// How keys are hashed to workers. Recorded in every checkpoint: state that another function spread
/// would come back at the wrong worker. The runtime asserts that its own hash has this name.
pub const KEY_HASH_NAME: &str = "xxh3-64/0";

/// Whose checkpoint this is and what of the query is frozen in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The id of the query, a UUID as text; made once, never changed.
    pub query_id: String,
    /// Identifies the plan: sources, keys, aggregates, kinds of operators.
    pub plan_fingerprint: u64,
    /// The plan for people, so that a mismatch can be explained.
    pub plan_text: String,
    /// Settings that must not change while the checkpoint lives.
    pub settings: Vec<(String, String)>,
}

impl Metadata {
    /// The bytes of the file.
    pub(crate) fn encode(&self, engine: &str) -> Result<Vec<u8>, TooLong> {
        let mut out = Writer::default();
        out.text(engine);
        out.text(KEY_HASH_NAME);
        out.text(&self.query_id);
        out.u64(self.plan_fingerprint);
        out.text(&self.plan_text);
        out.count(self.settings.len());
        for (name, value) in &self.settings {
            out.text(name);
            out.text(value);
        }
        METADATA.seal(&out.finish())
    }

    /// The version of the engine that wrote a file, and what the file holds.
    ///
    /// # Errors
    /// For bytes that no writer writes.
    pub fn decode(bytes: &[u8]) -> Result<(String, Metadata), DecodeError> {
        let mut from = Reader::new(METADATA.open_whole(bytes)?.body);
        let engine = from.text("engine version")?;
        let found = from.text("hash name")?;
        if found != KEY_HASH_NAME {
            let known = KEY_HASH_NAME;
            return Err(DecodeError::Hash { found, known });
        }
        let query_id = from.text("query id")?;
        let plan_fingerprint = from.u64()?;
        let plan_text = from.text("plan text")?;
        let count = from.count(8)?;
        let mut settings = Vec::with_capacity(count);
        for _ in 0..count {
            settings.push((from.text("setting")?, from.text("setting value")?));
        }
        from.finish()?;
        let metadata = Metadata {
            query_id,
            plan_fingerprint,
            plan_text,
            settings,
        };
        Ok((engine, metadata))
    }
}
