use std::process::{Command, Output};

fn demo(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).arg("demo").args(args).output().expect("it starts")
}

#[test]
fn ends_with_the_rows_back() {
    let output = demo(&[]);
    let (story, trouble) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{story}\n{trouble}");
    let last = story.lines().last().unwrap_or_default();
    assert!(last.starts_with("The rows are back: all 21,000 orders"), "{story}");
    assert!(story.contains("backup successfully verified"), "{story}");
}

#[test]
fn a_failing_tool_ends_it_with_the_tools_own_words() {
    // Files of a megabyte at most: initdb can't write its first WAL segment.
    let script = format!("ulimit -f 2048; exec '{}' demo", env!("CARGO_BIN_EXE_xtask"));
    let output = Command::new("sh").args(["-c", &script]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(trouble.contains("initdb") && trouble.contains("File too large"), "{trouble}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("The rows are back"));
}

#[test]
fn a_major_that_is_not_supported_is_refused() {
    let output = demo(&["99"]);
    assert_eq!(output.status.code(), Some(1));
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(trouble.contains("PostgreSQL 99 is not supported"), "{trouble}");
}
