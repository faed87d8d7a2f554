use std::path::PathBuf;

use clap::Args;
use walbrook::types::{Lsn, TimelineId, WalFileName};
use walbrook::wal_reader::{ReadOptions, WalInput, WalReader};

use crate::args::{CommonArgs, time};
use crate::config::Settings;
use crate::console::Console;
use crate::failure::{Failure, Result};

/// Where WAL is read from, and from where to where.
#[derive(Debug, Args)]
pub(super) struct InputArgs {
    /// Segments to read, instead of a repository
    #[arg(value_name = "FILE", conflicts_with = "dir")]
    files: Vec<PathBuf>,

    /// A directory of segments to read, such as pg_wal, instead of a repository
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// The first segment, by its file name
    #[arg(long, value_name = "SEGMENT", value_parser = segment)]
    #[arg(help_heading = "Range")]
    from: Option<WalFileName>,

    /// The last segment
    #[arg(long, value_name = "SEGMENT", value_parser = segment)]
    #[arg(help_heading = "Range")]
    to: Option<WalFileName>,

    /// Begin with the first record that begins there or later
    #[arg(long, value_name = "LSN", help_heading = "Range")]
    from_lsn: Option<Lsn>,

    /// End before the first record that begins there or later
    #[arg(long, value_name = "LSN", help_heading = "Range")]
    to_lsn: Option<Lsn>,

    /// Begin behind the last transaction that ended before this time, by the server's clock: as
    /// walbrook-restore's --target-time
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Range")]
    from_time: Option<jiff::Timestamp>,

    /// End before the first transaction that ended after this time
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Range")]
    to_time: Option<jiff::Timestamp>,

    /// The timeline to follow, with its ancestors [default: the newest]
    #[arg(long, value_name = "TIMELINE", value_parser = timeline, help_heading = "Range")]
    timeline: Option<TimelineId>,

    /// Read on behind segments that are missing, instead of failing
    #[arg(long, help_heading = "Range")]
    skip_missing: bool,
}

impl InputArgs {
    /// Whether a repository is read.
    pub(super) fn is_repository(&self) -> bool {
        self.files.is_empty() && self.dir.is_none()
    }

    /// The settings, where there is a repository or one is named; a command that reads files needs
    /// none.
    pub(super) fn settings(
        &self,
        common: &CommonArgs,
        console: &Console,
    ) -> Result<Option<Settings>> {
        if self.is_repository() || common.repo.is_some() {
            return Settings::load(common, console).map(Some);
        }
        Ok(None)
    }

    pub(super) fn options(&self, settings: Option<&Settings>) -> Result<ReadOptions> {
        let input = match (&self.dir, settings) {
            (Some(dir), _) => WalInput::Directory(dir.clone()),
            (None, _) if !self.files.is_empty() => WalInput::Files(self.files.clone()),
            (None, Some(settings)) => WalInput::Repository {
                repository: settings.repository.clone(),
                cluster: settings.cluster().to_owned(),
            },
            (None, None) => return Err(Failure::usage_text("which WAL? Give --repo or --dir")),
        };
        let mut options = ReadOptions::new(input);
        options.from_segment = self.from;
        options.to_segment = self.to;
        options.from_lsn = self.from_lsn;
        options.to_lsn = self.to_lsn;
        options.from_time = self.from_time;
        options.to_time = self.to_time;
        options.timeline = self.timeline;
        options.skip_missing = self.skip_missing;
        Ok(options)
    }
}

/// Tells what the reader noticed.
pub(super) fn tell(reader: &mut WalReader, console: &Console) {
    for warning in reader.take_warnings() {
        console.warn(warning);
    }
}

fn segment(text: &str) -> Result<WalFileName, String> {
    match text.parse() {
        Ok(name @ (WalFileName::Segment { .. } | WalFileName::Partial { .. })) => Ok(name),
        _ => Err("write a segment's name, such as 000000010000000000000003".to_owned()),
    }
}

fn timeline(text: &str) -> Result<TimelineId, String> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    number.and_then(TimelineId::new).ok_or_else(|| "it must be a timeline's number".to_owned())
}
