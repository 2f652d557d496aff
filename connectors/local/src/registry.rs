//! All connectors of this crate, and finding one by its name.

use std::sync::Arc;

use millstream_connectors_api::{ConnectorError, ConnectorFactory};

use crate::{
    ConsoleConnector, FileConnector, MemoryConnector, MemoryHub, NexmarkConnector, NoopConnector,
    RateConnector, RateMicroBatchConnector,
};

/// Every connector of this crate; `memory` works on `hub`, `console` prints to the standard output.
#[must_use]
pub fn registry(hub: MemoryHub) -> Vec<Arc<dyn ConnectorFactory>> {
    let mut all: Vec<Arc<dyn ConnectorFactory>> = vec![Arc::new(FileConnector::new())];
    for connector in FileConnector::by_format() {
        all.push(Arc::new(connector));
    }
    all.push(Arc::new(RateConnector));
    all.push(Arc::new(RateMicroBatchConnector));
    all.push(Arc::new(NexmarkConnector));
    all.push(Arc::new(MemoryConnector::new(hub)));
    all.push(Arc::new(ConsoleConnector::new()));
    all.push(Arc::new(NoopConnector));
    all
}

/// The connector of this name, without regard to case.
///
/// # Errors
/// [`ConnectorError::Unknown`], whose hint names the nearest one.
pub fn lookup<'a>(
    connectors: &'a [Arc<dyn ConnectorFactory>],
    name: &str,
) -> Result<&'a Arc<dyn ConnectorFactory>, ConnectorError> {
    let answers = |connector: &dyn ConnectorFactory| {
        let known = connector.name();
        known.eq_ignore_ascii_case(name.trim())
    };
    connectors
        .iter()
        .find(|connector| answers(connector.as_ref()))
        .ok_or_else(|| ConnectorError::Unknown {
            kind: "connector",
            name: name.to_owned(),
            known: connectors
                .iter()
                .map(|connector| connector.name().to_owned())
                .collect(),
        })
}

#[cfg(test)]
mod tests {
    use millstream_types::Coded;

    use super::*;

    #[test]
    fn names_are_found_and_slips_are_con_001() {
        let all = registry(MemoryHub::new());
        for name in [
            "file", "JSON", "csv", "text", "rate", "nexmark", "memory", "console", "noop",
        ] {
            assert!(lookup(&all, name).is_ok(), "{name}");
        }
        let error = lookup(&all, "nexmrak").err().expect("no such connector");
        assert_eq!(error.code().0, "CON-001");
        assert_eq!(error.hint().as_deref(), Some("did you mean \"nexmark\"?"));
    }

    #[test]
    fn sides_that_are_missing_are_con_008() {
        let all = registry(MemoryHub::new());
        for connector in all {
            let sides = connector.capabilities();
            let source = millstream_connectors_api::SourceRequest {
                table: "t".to_owned(),
                schema: None,
                options: millstream_connectors_api::Options::new(),
            };
            let sink = millstream_connectors_api::SinkRequest {
                table: "t".to_owned(),
                options: millstream_connectors_api::Options::new(),
            };
            let name = connector.name();
            if !sides.source {
                let error = connector
                    .source(&source, crate::testing::context())
                    .err()
                    .expect("no source side");
                assert_eq!(error.code().0, "CON-008", "{name}");
            }
            if !sides.sink {
                let error = connector.sink(&sink).err().expect("no sink side");
                assert_eq!(error.code().0, "CON-008", "{name}");
            }
        }
    }
}
