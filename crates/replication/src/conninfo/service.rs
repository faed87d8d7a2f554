//! Service files: named groups of settings, as the manual's "The Connection Service File" has it.

use std::path::{Path, PathBuf};

use super::Environment;
use super::keyword::{Settings, known};
use crate::Error;

/// Where Debian's libpq looks when `PGSYSCONFDIR` is not set.
const SYSTEM_DIRECTORY: &str = "/etc/postgresql-common";

/// The settings of service `name`.
///
/// A file that was named must exist; otherwise the user's own file is searched, then the system's.
pub(super) fn load(name: &str, file: Option<&str>, env: &Environment) -> Result<Settings, Error> {
    if let Some(file) = file {
        return match read(Path::new(file), name)? {
            Found::Settings(settings) => Ok(settings),
            Found::NoService => Err(missing(name)),
            Found::NoFile => Err(Error::config(format!("service file {file:?} not found"))),
        };
    }
    let system = env.variable("PGSYSCONFDIR").unwrap_or(SYSTEM_DIRECTORY);
    let user: Option<PathBuf> = env.home().map(|home| home.join(".pg_service.conf"));
    let files = user.into_iter().chain([Path::new(system).join("pg_service.conf")]);
    for file in files {
        if let Found::Settings(settings) = read(&file, name)? {
            return Ok(settings);
        }
    }
    Err(missing(name))
}

fn missing(name: &str) -> Error {
    Error::config(format!("definition of service {name:?} not found")).with_remedy(
        "define it in ~/.pg_service.conf, or point PGSERVICEFILE at the file that does",
    )
}

enum Found {
    Settings(Settings),
    NoService,
    NoFile,
}

fn read(file: &Path, name: &str) -> Result<Found, Error> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Found::NoFile),
        Err(error) => {
            let message = format!("could not read service file {}: {error}", file.display());
            return Err(Error::config(message).with_source(error));
        }
    };
    parse(&text, name)
        .map(|found| found.map_or(Found::NoService, Found::Settings))
        .map_err(|error| error.prefixed(format_args!("service file {}", file.display())))
}

fn parse(text: &str, name: &str) -> Result<Option<Settings>, Error> {
    let mut found: Option<Settings> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(group) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if group.strip_suffix(']') == Some(name) {
                found = Some(Settings::new());
            }
            continue;
        }
        let Some(settings) = &mut found else { continue };
        let at = |error: Error| error.prefixed(format_args!("line {}", number + 1));
        if line.starts_with("ldap") && line.contains("://") {
            return Err(at(Error::config("LDAP lookup of services is not supported")));
        }
        let (keyword, value) =
            line.split_once('=').ok_or_else(|| at(Error::config("missing \"=\"")))?;
        let keyword = known(keyword.trim()).map_err(at)?;
        if keyword == "service" || keyword == "servicefile" {
            return Err(at(Error::config("a service can't name another service")));
        }
        // As in libpq, the first of equal keywords wins here.
        settings.entry(keyword).or_insert_with(|| value.trim().to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n[other]\nhost=elsewhere\n\n[mine]\nhost=db1\nport = 5433\nhost=db2\n[after]\nuser=x\n";

    #[test]
    fn reads_one_group() {
        let settings = parse(FILE, "mine").unwrap().unwrap();
        assert_eq!(settings.get("host").map(String::as_str), Some("db1"));
        assert_eq!(settings.get("port").map(String::as_str), Some("5433"));
        assert_eq!(settings.len(), 2);
        assert!(parse(FILE, "none").unwrap().is_none());
    }

    #[test]
    fn errors_give_the_line() {
        for (text, expected) in [
            ("[s]\nnonsense", "line 2: missing"),
            ("[s]\nhots=1", "line 2: invalid connection option \"hots\""),
            ("[s]\nservice=x", "can't name another"),
            ("[s]\nldap://x/y", "LDAP"),
        ] {
            let error = parse(text, "s").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_users_file_comes_before_the_systems() {
        let (home, system) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(home.path().join(".pg_service.conf"), "[a]\nhost=user\n").unwrap();
        let file = system.path().join("pg_service.conf");
        std::fs::write(&file, "[a]\nhost=system\n[b]\nhost=system\n").unwrap();
        let env = Environment::empty()
            .with_home(home.path())
            .with_variable("PGSYSCONFDIR", system.path().to_str().unwrap());
        assert_eq!(load("a", None, &env).unwrap()["host"], "user");
        assert_eq!(load("b", None, &env).unwrap()["host"], "system");
        assert_eq!(load("a", file.to_str(), &env).unwrap()["host"], "system");
        assert!(load("c", None, &env).unwrap_err().to_string().contains("\"c\" not found"));
        assert!(load("a", Some("/nonexistent"), &env).is_err());
    }
}
