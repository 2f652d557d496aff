//! Several queries of one command.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// A query that fails is heard of while another would run for ever, and ends the command.
#[test]
fn one_that_fails_ends_all() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("several");
    fs::create_dir_all(&folder).expect("the disk has room");
    fs::write(folder.join("1.json"), "no record\n").expect("the disk has room");
    let sql = format!(
        "CREATE TABLE r WITH (connector = 'rate');
         CREATE TABLE o WITH (connector = 'noop');
         CREATE TABLE x (a INT)
         WITH (connector = 'file', format = 'json', mode = 'FAILFAST', path = '{}');
         INSERT INTO o SELECT * FROM r;
         INSERT INTO o SELECT a FROM x;",
        folder.display()
    );
    let status = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["run", "--workers", "1", "-c", &sql])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("the command starts");
    assert_eq!(status.code(), Some(65));
}
