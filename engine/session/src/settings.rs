//! Settings of a session: what `SET` and the builder know, and what queries start with.

use std::{path::PathBuf, sync::Arc, time::Duration};

use millstream_epoch::{Disk, RealDisk};
use millstream_runtime::{
    Channels,
    clock::{Clock, SystemClock},
    schedule::Schedule,
    settings::{KillPoint, Trigger},
};
use millstream_sql::PlanSettings;
use millstream_types::{Interval, OutputMode, did_you_mean};

use crate::error::{Error, Result};

/// A setting that `SET` knows: name, default, one sentence.
#[derive(Clone, Copy, Debug)]
pub struct SettingInfo {
    /// The key.
    pub key: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
}

/// Every setting.
pub const SETTINGS: &[SettingInfo] = &[
    SettingInfo {
        key: "trigger",
        default: "default",
        help: "when epochs run: default, processing-time INTERVAL, available-now, once",
    },
    SettingInfo {
        key: "checkpointLocation",
        default: "",
        help: "directory of the next query's checkpoint",
    },
    SettingInfo {
        key: "queryName",
        default: "",
        help: "name of the next query",
    },
    SettingInfo {
        key: "outputMode",
        default: "append",
        help: "output mode of the next queries, unless their sink table says one",
    },
    SettingInfo {
        key: "workers",
        default: "all cores",
        help: "worker threads of a query",
    },
    SettingInfo {
        key: "spark.sql.streaming.checkpointLocation",
        default: "",
        help: "directory under which each named query has its checkpoint",
    },
    SettingInfo {
        key: "spark.sql.streaming.noDataMicroBatches.enabled",
        default: "true",
        help: "whether a moved watermark gets an epoch of its own when no data comes",
    },
    SettingInfo {
        key: "spark.sql.streaming.pollingDelay",
        default: "10",
        help: "milliseconds before a source that had nothing is asked again",
    },
    SettingInfo {
        key: "spark.sql.streaming.multipleWatermarkPolicy",
        default: "min",
        help: "how several watermarks make one: min or max",
    },
    SettingInfo {
        key: "millstream.watermarkIdleTimeout",
        default: "0 seconds",
        help: "after how long without a row an input no longer holds the watermark; 0 seconds: never",
    },
    SettingInfo {
        key: "spark.sql.streaming.statefulOperator.checkCorrectness.enabled",
        default: "true",
        help: "whether chains of stateful operators that could lose rows are refused",
    },
    SettingInfo {
        key: "spark.sql.session.timeZone",
        default: "UTC",
        help: "the zone on whose clock the next queries read and write times: Europe/Berlin, +02:00",
    },
    SettingInfo {
        key: "spark.sql.shuffle.partitions",
        default: "",
        help: "accepted and without effect: state is sliced by the number of workers at each start",
    },
    SettingInfo {
        key: "millstream.snapshotInterval",
        default: "10 seconds",
        help: "how often state is written to the checkpoint; 0 seconds after every epoch",
    },
    SettingInfo {
        key: "millstream.openEpochs",
        default: "4",
        help: "how many epochs may be open at once",
    },
];

/// Where a query keeps its checkpoint.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Checkpoint {
    /// Nowhere: a restart begins anew.
    #[default]
    None,
    /// In a directory.
    Directory(PathBuf),
    /// On a disk of one's own, such as a simulated one.
    Disk(Arc<dyn Disk>),
}

impl Checkpoint {
    pub(crate) fn disk(&self) -> Option<Arc<dyn Disk>> {
        match self {
            Checkpoint::None => None,
            Checkpoint::Directory(path) => Some(Arc::new(RealDisk::new(path.clone()))),
            Checkpoint::Disk(disk) => Some(disk.clone()),
        }
    }
}

/// What queries of a session start with; `SET` changes it.
#[derive(Clone)]
pub struct SessionSettings {
    /// When epochs run.
    pub trigger: Trigger,
    /// The next query's checkpoint.
    pub checkpoint: Checkpoint,
    /// Under which each named query has its checkpoint.
    pub checkpoint_root: Option<PathBuf>,
    /// The next query's name.
    pub query_name: Option<String>,
    /// Output mode where neither the sink nor the caller says one.
    pub output_mode: Option<OutputMode>,
    /// Worker threads.
    pub workers: usize,
    /// Whether epochs without data are planned.
    pub no_data_epochs: bool,
    /// How long a source that had nothing is left alone.
    pub polling_delay: Duration,
    /// How often state is captured.
    pub snapshot_interval: Duration,
    /// How many epochs may be open.
    pub open_epochs_max: usize,
    /// How workers hand batches to each other.
    pub channels: Channels,
    /// Where the next query is killed, for tests of recovery.
    pub kill_at: Option<KillPoint>,
    /// Id of a query that begins, for tests that know its random values; drawn by chance without it.
    pub new_id: Option<String>,
    /// Who decides which thread of the next query moves next, for tests of interleavings.
    pub schedule: Option<Arc<dyn Schedule>>,
    /// What changes plans.
    pub plan: PlanSettings,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for SessionSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionSettings")
            .field("trigger", &self.trigger)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl Default for SessionSettings {
    fn default() -> SessionSettings {
        SessionSettings {
            trigger: Trigger::Default,
            checkpoint: Checkpoint::None,
            checkpoint_root: None,
            query_name: None,
            output_mode: None,
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            no_data_epochs: true,
            polling_delay: Duration::from_millis(10),
            snapshot_interval: Duration::from_secs(10),
            open_epochs_max: 4,
            channels: Channels::Typed,
            kill_at: None,
            new_id: None,
            schedule: None,
            plan: PlanSettings::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl SessionSettings {
    /// Takes one setting by its key, without regard to case.
    ///
    /// # Errors
    /// [`Error::UnknownSetting`], [`Error::BadValue`].
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        if self.plan.set(key, value)? {
            return Ok(());
        }
        let bad = |what: &'static str| Error::BadValue {
            what,
            value: value.to_owned(),
        };
        match key.to_ascii_lowercase().as_str() {
            "trigger" => self.trigger = parse_trigger(value)?,
            "checkpointlocation" => self.checkpoint = Checkpoint::Directory(value.into()),
            "spark.sql.streaming.checkpointlocation" => self.checkpoint_root = Some(value.into()),
            "queryname" => self.query_name = Some(value.to_owned()),
            "outputmode" | "output_mode" => {
                let unknown = |_| millstream_sql::SqlError::UnknownMode {
                    word: value.to_owned(),
                };
                self.output_mode = Some(value.parse().map_err(unknown)?);
            }
            "workers" => {
                let workers = positive(value).filter(|workers| *workers <= 1024);
                self.workers = workers.ok_or_else(|| bad("number from 1 to 1024"))?;
            }
            "spark.sql.shuffle.partitions" => {
                positive(value).ok_or_else(|| bad("positive number"))?;
            }
            "spark.sql.streaming.nodatamicrobatches.enabled" => {
                self.no_data_epochs = match value.to_ascii_lowercase().as_str() {
                    "true" => true,
                    "false" => false,
                    _ => return Err(bad("boolean (true, false)")),
                };
            }
            "spark.sql.streaming.pollingdelay" => {
                let ms = value.parse().map_err(|_| bad("number of milliseconds"))?;
                self.polling_delay = Duration::from_millis(ms);
            }
            "millstream.snapshotinterval" => {
                self.snapshot_interval = duration(value).ok_or_else(|| bad("interval"))?;
            }
            "millstream.openepochs" => {
                let open = positive(value).filter(|open| *open <= 64);
                self.open_epochs_max = open.ok_or_else(|| bad("number from 1 to 64"))?;
            }
            _ => {
                let near = did_you_mean(key, SETTINGS.iter().map(|setting| setting.key));
                let near = SETTINGS
                    .iter()
                    .map(|s| s.key)
                    .find(|known| Some(*known) == near);
                return Err(Error::UnknownSetting {
                    key: key.to_owned(),
                    near,
                });
            }
        }
        Ok(())
    }

    /// Goes back to a setting's default, or to all defaults.
    ///
    /// # Errors
    /// [`Error::UnknownSetting`].
    pub fn reset(&mut self, key: Option<&str>) -> Result<()> {
        let fresh = SessionSettings {
            clock: self.clock.clone(),
            ..SessionSettings::default()
        };
        let Some(key) = key else {
            *self = fresh;
            return Ok(());
        };
        match key.to_ascii_lowercase().as_str() {
            "trigger" => self.trigger = fresh.trigger,
            "checkpointlocation" => self.checkpoint = fresh.checkpoint,
            "spark.sql.streaming.checkpointlocation" => self.checkpoint_root = None,
            "queryname" => self.query_name = None,
            "outputmode" | "output_mode" => self.output_mode = None,
            "workers" => self.workers = fresh.workers,
            other => {
                let default = SETTINGS.iter().find(|s| s.key.eq_ignore_ascii_case(other));
                let default = default
                    .map(|setting| setting.default)
                    .filter(|d| !d.is_empty());
                let unknown = || Error::UnknownSetting {
                    key: key.to_owned(),
                    near: None,
                };
                self.set(key, default.ok_or_else(unknown)?)?;
            }
        }
        Ok(())
    }
}

fn positive(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|value| *value > 0)
}

fn duration(text: &str) -> Option<Duration> {
    let interval: Interval = text.parse().ok()?;
    let micros = u64::try_from(interval.micros()).ok()?;
    (interval.months() == 0).then(|| Duration::from_micros(micros))
}

/// Reads `default`, `processing-time 2 seconds`, `available-now` or `once`.
///
/// # Errors
/// [`Error::BadValue`].
pub fn parse_trigger(text: &str) -> Result<Trigger> {
    const WHAT: &str = "trigger (default, processing-time INTERVAL, available-now, once)";
    let bad = || Error::BadValue {
        what: WHAT,
        value: text.to_owned(),
    };
    let lower = text.trim().to_ascii_lowercase().replace('_', "-");
    match lower.as_str() {
        "default" => Ok(Trigger::Default),
        "available-now" | "availablenow" => Ok(Trigger::AvailableNow),
        "once" => Ok(Trigger::Once),
        other => {
            let interval = other
                .strip_prefix("processing-time")
                .or_else(|| other.strip_prefix("processingtime"))
                .ok_or_else(bad)?;
            let interval = interval
                .trim_start_matches([' ', '=', ':', '('])
                .trim_end_matches(')');
            match duration(interval).ok_or_else(bad)? {
                Duration::ZERO => Ok(Trigger::Default),
                interval => Ok(Trigger::ProcessingTime(interval)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_types::Coded;

    use super::*;

    #[test]
    fn triggers_are_read_as_people_write_them() {
        assert_eq!(
            parse_trigger("available-now").ok(),
            Some(Trigger::AvailableNow)
        );
        let two = Trigger::ProcessingTime(Duration::from_secs(2));
        assert_eq!(parse_trigger("processing-time 2 seconds").ok(), Some(two));
        let error = parse_trigger("sometimes").expect_err("no trigger");
        assert_eq!(error.code().0, "SQL-016");
    }

    #[test]
    fn an_unknown_setting_names_the_nearest() {
        let mut settings = SessionSettings::default();
        let error = settings
            .set("chekpointLocation", "/x")
            .expect_err("unknown");
        assert_eq!(error.code().0, "SQL-009");
        assert_eq!(
            error.hint().as_deref(),
            Some("did you mean \"checkpointLocation\"?")
        );
        for setting in SETTINGS
            .iter()
            .filter(|s| !s.default.is_empty() && s.key != "workers")
        {
            assert!(
                settings.set(setting.key, setting.default).is_ok(),
                "{}",
                setting.key
            );
            assert!(settings.reset(Some(setting.key)).is_ok(), "{}", setting.key);
        }
    }
}
