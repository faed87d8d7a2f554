//! The machine that this runs on.

/// Its name, for those who look who was at work.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
