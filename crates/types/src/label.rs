use crate::{Lsn, ParseError, ParseErrorKind, TimelineId};

/// What a `backup_label` file says (`do_pg_backup_start` in PostgreSQL's `xlog.c`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLabel {
    /// `START WAL LOCATION`: where replay begins, the redo position of the backup's checkpoint.
    pub start_lsn: Lsn,
    /// `CHECKPOINT LOCATION`: where that checkpoint's record lies.
    pub checkpoint_lsn: Lsn,
    /// `START TIMELINE`.
    pub start_timeline: TimelineId,
    /// `BACKUP FROM`: whether a standby was backed up.
    pub from_standby: bool,
    /// `LABEL`: free text chosen by whoever took the backup.
    pub label: String,
}

impl BackupLabel {
    /// Reads the text of a `backup_label` file. Lines that this version does not know are passed
    /// over, as the server does.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let missing = |name: &str| {
            ParseError::new(ParseErrorKind::BackupLabel, format!("backup_label without {name}"))
        };
        let start = field("START WAL LOCATION: ").ok_or_else(|| missing("START WAL LOCATION"))?;
        // The segment's file name follows in brackets.
        let start_lsn = start.split(' ').next().unwrap_or(start).parse()?;
        let checkpoint_lsn = field("CHECKPOINT LOCATION: ")
            .ok_or_else(|| missing("CHECKPOINT LOCATION"))?
            .parse()?;
        let start_timeline =
            field("START TIMELINE: ").ok_or_else(|| missing("START TIMELINE"))?.parse()?;
        Ok(Self {
            start_lsn,
            checkpoint_lsn,
            start_timeline,
            from_standby: field("BACKUP FROM: ") == Some("standby"),
            label: field("LABEL: ").unwrap_or_default().to_owned(),
        })
    }
}
