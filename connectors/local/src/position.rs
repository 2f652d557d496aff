//! Positions and details: small JSON texts that sources write into plans and read back.

use millstream_connectors_api::{ConnectorError, Position};
use serde::{Serialize, de::DeserializeOwned};

/// `{"name":number}`.
pub(crate) fn of(name: &str, number: u64) -> Position {
    Position(format!("{{\"{name}\":{number}}}"))
}

/// The number in `{"name":number}`.
pub(crate) fn number(position: &Position, name: &str) -> Result<u64, ConnectorError> {
    serde_json::from_str::<serde_json::Value>(&position.0)
        .ok()
        .and_then(|value| value.get(name)?.as_u64())
        .ok_or(ConnectorError::Internal {
            what: "a position is none of this source's",
        })
}

/// A detail or state as bytes.
pub(crate) fn bytes(value: &impl Serialize) -> Result<Vec<u8>, ConnectorError> {
    serde_json::to_vec(value).map_err(|_| ConnectorError::Internal {
        what: "a plan or state cannot be written as JSON",
    })
}

/// A detail or state from bytes; `what` says which is damaged.
pub(crate) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    what: &'static str,
) -> Result<T, ConnectorError> {
    serde_json::from_slice(bytes).map_err(|_| ConnectorError::Internal { what })
}
