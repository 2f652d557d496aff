//! A harness for processes: starts `millstream run`, waits for its lines, kills it by its id.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
};

use millstream_testkit::baton::Random;
use serde_json::Value;

/// A folder in which one query over files runs, possibly many times.
pub(crate) struct Place {
    root: PathBuf,
}

impl Place {
    /// An empty folder with `files` files of input; each is an epoch.
    pub(crate) fn new(name: &str, files: u64) -> Place {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if root.exists() {
            fs::remove_dir_all(&root).expect("invariant: the build folder is ours");
        }
        fs::create_dir_all(root.join("in")).expect("invariant: the build folder is ours");
        let place = Place { root };
        (0..files).for_each(|file| place.add_file(file));
        place
    }

    /// One more file of input, there at once and whole; its rows depend on its number alone.
    pub(crate) fn add_file(&self, file: u64) {
        let mut random = Random::new(file);
        let mut text = String::new();
        for _row in 0..2 + random.below(8) {
            let late = if random.below(7) == 0 { 40 } else { 0 };
            let second = (file * 6 + random.draw() % 8).saturating_sub(late);
            let (minute, second) = (second / 60, second % 60);
            let key = ["a", "b", "c"][random.below(3)];
            let n = random.below(50);
            let at = format!("2024-01-01T00:{minute:02}:{second:02}Z");
            writeln!(text, r#"{{"at":"{at}","k":"{key}","n":{n}}}"#).expect("text grows");
        }
        let (whole, visible) = (format!("{file:04}.whole"), format!("in/{file:04}.json"));
        fs::write(self.root.join(&whole), text).expect("the disk has room");
        fs::hard_link(self.root.join(whole), self.root.join(visible)).expect("links work");
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Names of the files of input that are there.
    pub(crate) fn inputs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.join("in")).expect("invariant: it was made");
        let names = entries.map(|entry| entry.expect("can be listed").file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    /// Windows of so many seconds from the input into the output.
    pub(crate) fn sql(&self, seconds: u64) -> String {
        let root = self.root.display();
        format!(
            "CREATE TABLE e (at TIMESTAMP, k STRING, n BIGINT,
               WATERMARK FOR at AS at - INTERVAL '5' SECOND)
             WITH (connector = 'file', format = 'json', maxFilesPerTrigger = '1',
               path = '{root}/in');
             CREATE TABLE o WITH (connector = 'file', format = 'json', path = '{root}/out');
             INSERT INTO o
             SELECT window(at, '{seconds} seconds').start AS s, k, count(*) AS c, sum(n) AS n
             FROM e GROUP BY window(at, '{seconds} seconds'), k;"
        )
    }

    /// Starts the command over statements, with a checkpoint in this place.
    pub(crate) fn start(&self, sql: &str, trigger: &str, workers: usize) -> Running {
        self.start_with(sql, trigger, workers, "20 milliseconds")
    }

    /// The same with a snapshot each `interval`.
    pub(crate) fn start_with(
        &self,
        sql: &str,
        trigger: &str,
        workers: usize,
        interval: &str,
    ) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .args(["run", "--progress", "json", "--trigger", trigger])
            .args(["--set", &format!("millstream.snapshotInterval={interval}")])
            .args(["--workers", &workers.to_string(), "-c", sql])
            .arg("--checkpoint")
            .arg(self.root.join("checkpoint"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let stderr = child.stderr.take().expect("invariant: it is piped");
        let lines = BufReader::new(stderr).lines();
        Running {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// The rows that readers of the output see, sorted: those of files that its log names.
    ///
    /// Panics when the log names a file twice.
    pub(crate) fn output(&self) -> Vec<String> {
        let log = self.root.join("out/_spark_metadata");
        let mut batches: Vec<(u64, bool, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&log).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let number = name.strip_suffix(".compact").unwrap_or(&name);
            if let Ok(batch) = number.parse() {
                batches.push((batch, number != name, entry.path()));
            }
        }
        // A compact file holds all before it.
        let compacts = batches.iter().filter(|(_, is_compact, _)| *is_compact);
        let newest = compacts.map(|(batch, ..)| *batch).max();
        let mut named = BTreeSet::new();
        let mut rows = Vec::new();
        for (batch, is_compact, path) in batches {
            if newest.is_some_and(|newest| batch < newest || (batch == newest && !is_compact)) {
                continue;
            }
            let text = fs::read_to_string(path).expect("the log can be read");
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("v1"));
            for line in lines {
                let value: Value = serde_json::from_str(line).expect("an entry of the log");
                let path = value["path"].as_str().expect("a path").to_owned();
                let file = fs::read_to_string(path.trim_start_matches("file://"));
                rows.extend(
                    file.expect("what the log names is there")
                        .lines()
                        .map(str::to_owned),
                );
                assert!(named.insert(path), "the log names a file twice: {line}");
            }
        }
        rows.sort();
        rows
    }
}

/// A command that runs; it does not outlive this.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    seen: Vec<String>,
}

impl Running {
    /// Waits until this many epochs are reported, or the end; says how many were.
    pub(crate) fn wait_for_epochs(&mut self, epochs: usize) -> usize {
        let mut reported = 0;
        while reported < epochs {
            let Some(Ok(line)) = self.lines.next() else {
                break;
            };
            reported += usize::from(line.starts_with('{'));
            self.seen.push(line);
        }
        reported
    }

    /// Ends the process as a power cut of the process would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Asks the process to end, as a service manager does.
    #[cfg(unix)]
    pub(crate) fn ask_to_end(&self) {
        let mut kill = Command::new("kill");
        let asked = kill.args(["-TERM", &self.child.id().to_string()]).status();
        assert!(asked.expect("there is such a command").success());
    }

    /// Waits for the end: the exit code and what was said.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        self.wait_for_epochs(usize::MAX);
        let status = self.child.wait().expect("it is ours");
        (status.code(), self.seen.join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
