use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::{Pair, pair};
use crate::output::OutputFormat;

/// The flags that all commands have.
#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// The repository: /path, file:///path, s3://bucket/prefix, gs://… or az://…; options follow
    /// as ?KEY=VALUE&…
    #[arg(long, value_name = "URL", env = "WALBROOK_REPO", hide_env_values = true)]
    #[arg(help_heading = "Common options")]
    pub(crate) repo: Option<String>,

    /// An option of the repository's store, such as region=eu-west-1; may be repeated. Secrets
    /// belong into the environment or the configuration file: other users see this command line
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, help_heading = "Common options")]
    pub(crate) repo_option: Vec<Pair>,

    /// The cluster's name in the repository [default: main]
    #[arg(
        long,
        value_name = "NAME",
        env = "WALBROOK_CLUSTER",
        hide_env_values = true,
        help_heading = "Common options"
    )]
    pub(crate) cluster: Option<String>,

    /// The configuration file, in TOML. Flags and environment variables override it [default:
    /// $XDG_CONFIG_HOME/walbrook/walbrook.toml or /etc/walbrook/walbrook.toml, the first that
    /// exists]
    #[arg(
        long,
        value_name = "FILE",
        env = "WALBROOK_CONFIG",
        hide_env_values = true,
        help_heading = "Common options"
    )]
    pub(crate) config: Option<PathBuf>,

    /// The form of what is printed on standard output
    #[arg(long, value_enum, default_value_t, value_name = "FORM", help_heading = "Common options")]
    pub(crate) output: OutputFormat,

    /// Say more on standard error; -vv and -vvv say still more
    #[arg(short, long, action = ArgAction::Count, help_heading = "Common options")]
    pub(crate) verbose: u8,

    /// No progress and no hints on standard error, only warnings and errors
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Common options")]
    pub(crate) quiet: bool,
}
