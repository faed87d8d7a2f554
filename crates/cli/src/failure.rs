use anyhow::Error;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line, the environment or the configuration asks for something that makes no
    /// sense: nothing was begun.
    Usage(Error),
    /// It was tried, and failed.
    Failed(Error),
    /// The user or the operating system ended it.
    Interrupted,
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A usage error from a message or an error.
    pub(crate) fn usage(error: impl Into<Error>) -> Self {
        Self::Usage(error.into())
    }

    /// A usage error from a message.
    pub(crate) fn usage_text(message: impl Into<String>) -> Self {
        Self::Usage(Error::msg(message.into()))
    }

    /// The exit code of all commands but `walbrook-fetch`.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) | Self::Interrupted => 1,
        }
    }

    /// What to tell the user: a line for what failed, then one for each cause that says something
    /// new.
    pub(crate) fn lines(&self) -> Vec<String> {
        let error = match self {
            Self::Usage(error) | Self::Failed(error) => error,
            Self::Interrupted => return vec!["interrupted".to_owned()],
        };
        let mut lines: Vec<String> = Vec::new();
        for cause in error.chain().map(ToString::to_string) {
            // Many errors already quote the one below them.
            if !cause.is_empty() && !lines.iter().any(|line| line.contains(&cause)) {
                lines.push(cause);
            }
        }
        lines
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cause_is_told_twice() {
        let error = Error::msg("permission denied")
            .context("open /x: permission denied")
            .context("the backup failed");
        let lines = Failure::Failed(error).lines();
        assert_eq!(lines, ["the backup failed", "open /x: permission denied"]);
    }
}
