use std::fs;

use walbrook_testkit::{TempDir, give_to_server, majors, run_unprivileged};
use walbrook_types::{Lsn, TimelineId, WalFileName, WalSegmentSize};
use walbrook_wal::{RmgrId, WalVersion};

use crate::writer::{BASE, MIB, Writer};

/// Every operation that there could be, whether a server can be brought to write it or not: counting
/// records, `pg_waldump` looks at their headers only.
#[test]
fn every_operation_has_the_name_that_pg_waldump_gives_it() {
    for installation in majors() {
        let version =
            WalVersion::ALL.into_iter().find(|v| v.major() == installation.major()).unwrap();
        let switch = (RmgrId::XLOG, 0x40);
        let mut operations: Vec<(RmgrId, u8)> = (0..=21u8)
            .flat_map(|rmgr| (0..16u8).map(move |operation| (RmgrId(rmgr), operation << 4)))
            // The highest bit is a flag there.
            .filter(|(rmgr, info)| *rmgr != RmgrId::XACT || *info < 0x80)
            .filter(|operation| *operation != switch)
            .collect();
        // Nothing behind it would be read.
        operations.push(switch);
        let mut writer = Writer::of(version);
        for (rmgr, info) in &operations {
            writer.record(rmgr.0, *info, &[0; 40]);
        }
        let end = Lsn(BASE + writer.bytes.len() as u64);
        let dir = TempDir::new().unwrap();
        let size = WalSegmentSize::new(MIB).unwrap();
        let name = WalFileName::containing(TimelineId::FIRST, Lsn(BASE), size);
        let path = dir.path().join(name.to_string());
        fs::write(&path, writer.padded(MIB)).unwrap();
        give_to_server(&path).unwrap();
        let command = std::process::Command::new(installation.tool("pg_waldump"));
        let output = run_unprivileged(command)
            .args(["--stats=record", "-p", dir.path().to_str().unwrap()])
            .args(["-s", &Lsn(BASE + 40).to_string(), "-e", &end.to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let theirs: Vec<&str> = text
            .lines()
            .filter(|line| line.split_once('/').is_some_and(|(rmgr, _)| !rmgr.contains(' ')))
            .map(|line| line.split("  ").next().unwrap())
            .collect();
        operations.sort();
        let ours: Vec<String> = operations
            .iter()
            .map(|(rmgr, info)| match rmgr.operation_name(version, *info) {
                Some(name) => format!("{rmgr}/{name}"),
                None => format!("{rmgr}/UNKNOWN ({info:x})"),
            })
            .collect();
        assert_eq!(ours, theirs, "{installation}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
