//! What the engine hands to connectors, for tests.

use std::sync::{Arc, LazyLock};

use millstream_connectors_api::{
    Chunk, ConnectorError, Flow, MemoryJournals, PlannedRange, SinkContext, Source, SourceContext,
    SourceReader, Wake, Waker,
};

static IO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    let built = tokio::runtime::Builder::new_current_thread().build();
    built.expect("an IO runtime")
});

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}

    fn is_spent(&self) -> bool {
        false
    }
}

/// A context that keeps its journals in memory and wakes nobody.
pub(crate) fn context() -> SourceContext {
    with_journals(&MemoryJournals::new())
}

/// A context over these journals: what a source finds again after a restart.
pub(crate) fn with_journals(journals: &MemoryJournals) -> SourceContext {
    SourceContext {
        journals: Arc::new(journals.clone()),
        waker: Waker::new(Arc::new(Nobody)),
        io: IO.handle().clone(),
    }
}

/// What a sink hears of the query `q`.
pub(crate) fn sink_context(
    schema: arrow::datatypes::SchemaRef,
    mode: millstream_types::OutputMode,
) -> SinkContext {
    SinkContext {
        query_id: "q".to_owned(),
        schema,
        mode,
    }
}

/// Reads all splits of a range, one after the other.
pub(crate) fn read_range(
    source: &dyn Source,
    reader: &mut dyn SourceReader,
    range: &PlannedRange,
    give: &mut dyn FnMut(Chunk) -> Flow,
) -> Result<(), ConnectorError> {
    for split in source.splits(range)? {
        let split = split?;
        let mut next = 0;
        reader.read(&split, &mut |chunk| {
            assert!(
                (next..split.extent).contains(&chunk.position),
                "position={} next={next} extent={}",
                chunk.position,
                split.extent
            );
            next = chunk.position + 1;
            give(chunk)
        })?;
    }
    Ok(())
}
