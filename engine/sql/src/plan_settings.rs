//! Settings that change a plan, by their names in SET.

use millstream_connectors_api::{ConnectorFactory, Options};
use millstream_runtime::plan::MarkPolicy;
use millstream_values::zone::Zone;

use crate::{SqlError, ddl::parse_interval};

/// The option of connectors that names the zone of clocks.
const TIME_ZONE: &str = "timeZone";

/// Settings that change a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanSettings {
    /// How several watermarks make one.
    pub mark_policy: MarkPolicy,
    /// After how many milliseconds without a row an input no longer holds the watermark.
    pub mark_idle_ms: Option<i64>,
    /// Whether chains of stateful operators are refused where rows may come late.
    pub check_correctness: bool,
    /// On which clock the fields of instants are read.
    pub zone: Zone,
}

impl Default for PlanSettings {
    fn default() -> PlanSettings {
        PlanSettings {
            mark_policy: MarkPolicy::Min,
            mark_idle_ms: None,
            check_correctness: true,
            zone: Zone::utc(),
        }
    }
}

impl PlanSettings {
    /// The keys that [`PlanSettings::set`] knows.
    pub const KEYS: [&str; 4] = [
        "spark.sql.streaming.multipleWatermarkPolicy",
        "millstream.watermarkIdleTimeout",
        "spark.sql.streaming.statefulOperator.checkCorrectness.enabled",
        "spark.sql.session.timeZone",
    ];

    /// Adds what the session says to the options of a connector that knows it and got none of its own:
    /// the zone of clocks.
    pub fn complete(&self, factory: &dyn ConnectorFactory, options: &mut Options) {
        let specs = factory.options();
        let known = specs.iter().any(|spec| spec.name == TIME_ZONE);
        if known && options.get(TIME_ZONE).is_none() && self.zone != Zone::utc() {
            options.set(TIME_ZONE, self.zone.name());
        }
    }

    /// Takes a setting; `false` if it is none of the planner's.
    ///
    /// # Errors
    /// [`SqlError::UnknownWord`] and its kin for a value that the setting does not have.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool, SqlError> {
        let [policy, idle, correctness, zone] = PlanSettings::KEYS;
        let unknown = |kind, known| {
            Err(SqlError::UnknownWord {
                kind,
                word: value.to_owned(),
                known,
            })
        };
        if key.eq_ignore_ascii_case(policy) {
            self.mark_policy = match value.to_ascii_lowercase().as_str() {
                "min" => MarkPolicy::Min,
                "max" => MarkPolicy::Max,
                _ => return unknown("watermark policy", &["min", "max"]),
            };
        } else if key.eq_ignore_ascii_case(idle) {
            let limit = parse_interval(value)?;
            if limit.months() != 0 || limit.micros() < 0 {
                return Err(SqlError::Interval {
                    text: value.to_owned(),
                });
            }
            self.mark_idle_ms = (limit.micros() > 0).then(|| limit.micros() / 1000);
        } else if key.eq_ignore_ascii_case(correctness) {
            self.check_correctness = match value.to_ascii_lowercase().as_str() {
                "true" => true,
                "false" => false,
                _ => return unknown("boolean", &["true", "false"]),
            };
        } else if key.eq_ignore_ascii_case(zone) {
            self.zone = value.parse()?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}
