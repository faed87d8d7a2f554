//! One repository out of what the command line, the environment and the file say about it.

use std::collections::BTreeMap;
use std::fmt::Display;

use anyhow::anyhow;
use walbrook::StoreUrl;

use crate::args::Pair;
use crate::failure::{Failure, Result};

/// What one part of a file says about a repository.
pub(super) struct Layer<'a> {
    /// How messages call it.
    pub(super) origin: String,
    pub(super) repo: Option<&'a str>,
    pub(super) options: &'a BTreeMap<String, String>,
}

/// The repository that `given` names (a flag or variable) or else the last layer that names one,
/// with the options of each layer that is about the same place, and of the command line last.
///
/// What a file says about one place is never used for another: its credentials would be sent
/// there.
pub(super) fn merge(
    given: Option<&str>,
    layers: &[Layer<'_>],
    flags: &[Pair],
) -> Result<Option<StoreUrl>> {
    let mut named = Vec::new();
    for layer in layers {
        named.push(layer.repo.map(|text| parse(text, &layer.origin)).transpose()?);
    }
    let given = given.map(|text| text.parse::<StoreUrl>().map_err(Failure::usage)).transpose()?;
    let Some(chosen) = given.as_ref().or_else(|| named.iter().rev().find_map(Option::as_ref))
    else {
        return Ok(None);
    };

    let mut url = chosen.clone();
    // A layer that names no repository is about that of the layers below it, or about any.
    let mut about: Option<&StoreUrl> = None;
    for (layer, repo) in layers.iter().zip(&named) {
        about = repo.as_ref().or(about);
        if about.is_some_and(|about| place(about) != place(chosen)) {
            continue;
        }
        if let Some(repo) = repo {
            url = overlay(url, repo, &layer.origin)?;
        }
        for (key, value) in layer.options {
            url = set(url, key, value, &format!("repo-options in {}", layer.origin))?;
        }
    }
    if let Some(given) = &given {
        url = overlay(url, given, "--repo")?;
    }
    for flag in flags {
        url = set(url, &flag.key, &flag.value, "--repo-option")?;
    }
    Ok(Some(url))
}

/// The keys of the options whose values must not be seen.
pub(super) fn secrets(url: &StoreUrl) -> impl Iterator<Item = &'static str> {
    let secrets = url.scheme().options().iter().filter(|option| option.secret);
    secrets.map(|option| option.name).filter(|name| url.option(name).is_some())
}

fn parse(text: &str, origin: &str) -> Result<StoreUrl> {
    text.parse().map_err(|error| fault(&format!("repo in {origin}"), error))
}

/// A store's error, with where the fault was written.
fn fault(origin: &str, error: impl Display) -> Failure {
    Failure::usage(anyhow!("{origin}: {error}"))
}

/// The store without its options, to be compared or parsed.
pub(super) fn place(url: &StoreUrl) -> String {
    match url.directory() {
        Some(directory) => directory.display().to_string(),
        None => url.to_string().split('?').next().unwrap_or_default().to_owned(),
    }
}

/// Sets all options of `from` in `url`.
fn overlay(mut url: StoreUrl, from: &StoreUrl, origin: &str) -> Result<StoreUrl> {
    for option in from.scheme().options() {
        if let Some(value) = from.option(option.name) {
            url = set(url, option.name, value, origin)?;
        }
    }
    Ok(url)
}

fn set(url: StoreUrl, key: &str, value: &str, origin: &str) -> Result<StoreUrl> {
    url.with_option(key, value).map_err(|error| fault(origin, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::pair;

    /// A repository and options.
    type Said<'a> = (Option<&'a str>, &'a [(&'a str, &'a str)]);

    fn merged(given: Option<&str>, layers: &[Said<'_>], flags: &[&str]) -> String {
        let options: Vec<BTreeMap<String, String>> = layers
            .iter()
            .map(|(_, options)| {
                options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
            })
            .collect();
        let layers: Vec<_> = layers
            .iter()
            .zip(&options)
            .map(|((repo, _), options)| Layer { origin: "f.toml".into(), repo: *repo, options })
            .collect();
        let flags: Vec<_> = flags.iter().map(|flag| pair(flag).unwrap()).collect();
        match merge(given, &layers, &flags) {
            Ok(url) => url.map_or_else(|| "none".to_owned(), |url| url.to_string()),
            Err(failure) => failure.lines().join("; "),
        }
    }

    #[test]
    fn flags_win_over_the_url_over_the_file() {
        let file: Said<'_> = (Some("s3://b/p?region=file"), &[("timeout", "5")]);
        assert_eq!(merged(None, &[file], &[]), "s3://b/p?region=file&timeout=5");
        assert_eq!(
            merged(Some("s3://b/p?region=url"), &[file], &[]),
            "s3://b/p?region=url&timeout=5"
        );
        assert_eq!(
            merged(Some("s3://b/p?region=url"), &[file], &["region=flag"]),
            "s3://b/p?region=flag&timeout=5"
        );
        assert_eq!(merged(None, &[], &[]), "none");
    }

    #[test]
    fn credentials_stay_with_their_place() {
        let secret: &[(&str, &str)] = &[("secret_access_key", "x")];
        assert_eq!(
            merged(Some("s3://other/p"), &[(Some("s3://b/p"), secret)], &[]),
            "s3://other/p"
        );
        assert_eq!(
            merged(Some("/srv/backups"), &[(Some("s3://b/p"), secret)], &[]),
            "/srv/backups"
        );
        // A file that names no repository gives credentials for whichever is named.
        assert_eq!(
            merged(Some("s3://other/p"), &[(None, secret)], &[]),
            "s3://other/p?secret_access_key=***"
        );
        // One cluster's repository elsewhere does not get those of the others.
        assert_eq!(
            merged(None, &[(Some("s3://b/p"), secret), (Some("s3://c"), &[])], &[]),
            "s3://c"
        );
        assert_eq!(
            merged(None, &[(Some("s3://b/p"), secret), (None, &[("region", "r")])], &[]),
            "s3://b/p?region=r&secret_access_key=***"
        );
    }

    #[test]
    fn faults_name_their_origin() {
        assert!(merged(None, &[(Some("sftp://h"), &[])], &[]).starts_with("repo in f.toml: "));
        let fault = merged(None, &[(Some("s3://b"), &[("regoin", "x")])], &[]);
        assert!(fault.starts_with("repo-options in f.toml: "), "{fault}");
        assert!(merged(Some("s3://b"), &[], &["regoin=x"]).starts_with("--repo-option: "));
    }
}
