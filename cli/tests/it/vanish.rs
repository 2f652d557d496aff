//! Nothing vanishes in silence: a start that is refused leaves all files alone, and what is not read or
//! not shown is said, with an exit code that scripts can tell.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A folder with input, in which queries run.
struct Folder(PathBuf);

#[expect(
    clippy::disallowed_methods,
    reason = "somebody else's hand, not a step of ours"
)]
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).expect("the build folder is ours");
}

/// How a command ended: its exit code and what it said.
type Ended = (Option<i32>, String);

impl Folder {
    fn new(name: &str) -> Folder {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if root.exists() {
            fs::remove_dir_all(&root).expect("invariant: the build folder is ours");
        }
        fs::create_dir_all(root.join("in")).expect("invariant: the build folder is ours");
        Folder(root)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// One more file of input.
    fn put(&self, name: &str, text: &str) {
        fs::write(self.path("in").join(name), text).expect("the disk has room");
    }

    fn sql(&self, from: &str, to: &str) -> String {
        let root = self.0.display();
        format!(
            "CREATE TABLE c (id INT, k STRING)
             WITH (connector = 'file', format = 'json', maxFilesPerTrigger = '1', path = '{root}/{from}');
             CREATE TABLE o (id INT, k STRING) WITH (connector = 'file', format = 'json', path = '{root}/{to}');
             INSERT INTO o SELECT id, k FROM c;"
        )
    }

    fn command(&self, sql: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command
            .args([
                "run",
                "--workers",
                "1",
                "--trigger",
                "available-now",
                "-c",
                sql,
            ])
            .arg("--checkpoint")
            .arg(self.path("ck"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a query to its end.
    fn run(&self, sql: &str) -> Ended {
        let output = self.command(sql).output().expect("the command starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }

    /// Every file below a directory, with its contents.
    fn files(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut left = vec![self.path(name)];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    left.push(entry.path());
                } else {
                    files.insert(entry.path(), fs::read(entry.path()).expect("reads"));
                }
            }
        }
        files
    }

    /// Runs a query that is refused: nothing of the output is changed.
    fn refused(&self, sql: &str, code: &str, exit: i32) {
        let before = self.files("out");
        let (status, said) = self.run(sql);
        assert!(said.contains(code), "{said}");
        assert_eq!(status, Some(exit), "{said}");
        assert_eq!(self.files("out"), before, "{said}");
    }
}

/// proves P1: a start that is refused has touched no row.
#[test]
fn a_sink_that_lost_its_log_keeps_its_rows() {
    let folder = Folder::new("lost_log");
    let sql = folder.sql("in", "out");
    for id in 0..3 {
        folder.put(&format!("{id}.json"), &format!("{{\"id\":{id}}}\n"));
        let (code, said) = folder.run(&sql);
        assert_eq!(code, Some(0), "{said}");
    }
    folder.put("3.json", "{\"id\":3}\n");
    let log = folder.path("out/_spark_metadata");
    let away = folder.path("away");
    // All of the log, then only its newest entry.
    rename(&log, &away);
    folder.refused(&sql, "CKP-008", 74);
    rename(&away, &log);
    rename(&log.join("2"), &away);
    folder.refused(&sql, "CKP-008", 74);
    // An entry that is damaged.
    fs::write(log.join("2"), "").expect("writes");
    folder.refused(&sql, "CON-014", 74);
    rename(&away, &log.join("2"));
    // As it was, the query goes on.
    let (code, said) = folder.run(&sql);
    assert_eq!(code, Some(0), "{said}");
    let rows = folder.files("out").into_iter();
    let rows = rows.filter(|(path, _)| path.extension().is_some_and(|end| end == "json"));
    assert_eq!(rows.count(), 4);
    // Without checkpoint and log, and with somebody's file among the parts.
    fs::remove_dir_all(folder.path("ck")).expect("removes");
    fs::remove_dir_all(&log).expect("removes");
    fs::write(folder.path("out/part-00000-e0000000077.c000.json"), "x\n").expect("writes");
    folder.refused(&sql, "CON-018", 78);
}

#[test]
fn a_query_does_not_write_where_it_reads() {
    let folder = Folder::new("in_is_out");
    folder.put("1.json", "{\"id\":1}\n");
    let before = folder.files("in");
    for to in ["in", "in/out", "in/../in"] {
        let (code, said) = folder.run(&folder.sql("in", to));
        assert!(said.contains("CON-019"), "{said}");
        assert_eq!(code, Some(78), "{said}");
        assert_eq!(folder.files("in"), before, "{to}");
        assert!(!folder.path("in/_spark_metadata").exists() && !folder.path("in/out").exists());
        fs::remove_dir_all(folder.path("ck")).expect("removes");
    }
    // What a killed process may leave hides nothing.
    fs::create_dir(folder.path("in/_spark_metadata")).expect("creates");
    fs::write(folder.path("in/_spark_metadata/_owner"), "").expect("writes");
    let (code, said) = folder.run(&folder.sql("in", "out"));
    assert_eq!(code, Some(0), "{said}");
    let out = fs::read(folder.path("out/part-00000-e0000000000.c000.json"));
    assert_eq!(out.expect("reads"), b"{\"id\":1}\n");
}

#[test]
fn files_that_change_and_bad_records_are_said() {
    let folder = Folder::new("changed");
    let sql = folder.sql("in", "out");
    folder.put("a.json", "{\"id\":1}\n");
    folder.put("bad.json", "{\"id\":2}\nno record\n{\"id\":\"x\"}\n");
    let (code, said) = folder.run(&sql);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("note CON-007") && said.contains("count=2"),
        "{said}"
    );
    assert!(!said.contains("CON-016"), "{said}");
    folder.put("a.json", "{\"id\":1}\n{\"id\":3}\n");
    folder.put("new.json", "{\"id\":4}\n");
    let progress = folder.path("progress.jsonl");
    let mut command = folder.command(&sql);
    let output = command.arg("--progress-file").arg(&progress).output();
    let said = String::from_utf8_lossy(&output.expect("starts").stderr).into_owned();
    assert!(
        said.contains("note CON-016") && said.contains("in/a.json"),
        "{said}"
    );
    let progress = fs::read_to_string(progress).expect("was written");
    assert!(
        progress.contains("\"metrics\":{\"filesChanged\":\"1\"}"),
        "{progress}"
    );
}

/// Whoever reads one query's output goes away: that one ends, another goes on to its end.
#[test]
fn a_reader_that_goes_away_ends_one_query_with_a_code() {
    const FILES: usize = 40;
    let folder = Folder::new("gone_reader");
    for file in 0..FILES {
        folder.put(&format!("{file:02}.json"), "{\"id\":1}\n");
    }
    let console = "CREATE TABLE p WITH (connector = 'console');
         INSERT INTO p SELECT id, k FROM c;";
    let sql = folder.sql("in", "out") + console;
    let mut command = folder.command(&sql);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let stdout = child.stdout.take().expect("invariant: it is piped");
    let mut line = String::new();
    let read = BufReader::with_capacity(64, stdout).read_line(&mut line);
    assert!(read.expect("a line") > 0);
    let output = child.wait_with_output().expect("it is ours");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(141), "{said}");
    assert!(said.contains("CON-020"), "{said}");
    let parts = folder.files("out").into_keys();
    let parts = parts.filter(|path| path.extension().is_some_and(|end| end == "json"));
    assert_eq!(parts.count(), FILES, "{said}");
}
