use crate::{Error, ErrorKind};

/// The major version that a `PG_VERSION` file names: one decimal number and a newline, written by
/// `initdb` and `CREATE DATABASE`.
pub fn parse_pg_version(content: &str) -> Result<u32, Error> {
    let text = content.trim_end_matches(['\n', '\r']);
    let digits = (2..=3).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit())
        && !text.starts_with('0');
    digits.then(|| text.parse().ok()).flatten().filter(|major| *major >= 10).ok_or_else(|| {
        let shown: String = text.chars().take(20).collect();
        Error::new(
            ErrorKind::Invalid,
            format!("PG_VERSION holds {shown:?}, not a major version such as 17"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_initdb_writes() {
        assert_eq!(parse_pg_version("17\n"), Ok(17));
        assert_eq!(parse_pg_version("18"), Ok(18));
        for bad in ["", "\n", "9.6\n", "x", "017", "1 7", "9999"] {
            assert!(parse_pg_version(bad).is_err(), "{bad:?}");
        }
    }
}
