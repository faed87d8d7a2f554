//! Words of a shell command inside a PostgreSQL setting such as `restore_command`.
//!
//! Two readers take such a command apart: PostgreSQL replaces `%f`, `%p` and `%r` and turns `%%`
//! into `%` (`replace_percent_placeholders` in `common/percentrepl.c`, `BuildRestoreCommand`
//! before 16), then `sh -c` splits what is left into words.

/// One word, so that after both readers it is `text` again. `None` when that can't be done: a
/// setting can't hold a line feed (`ALTER SYSTEM` refuses it), and nothing can hold a zero byte.
pub(crate) fn word(text: &str) -> Option<String> {
    if text.contains(['\n', '\r', '\0']) {
        return None;
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:,@+=%".contains(&b);
    let doubled = text.replace('%', "%%");
    if !text.is_empty() && text.bytes().all(plain) {
        return Some(doubled);
    }
    // Within single quotes the shell knows no escapes: a quote is written outside of them.
    Some(format!("'{}'", doubled.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn plain_words_stay_legible() {
        assert_eq!(word("/srv/backups").unwrap(), "/srv/backups");
        assert_eq!(word("s3://b/p?region=x&a=b").unwrap(), "'s3://b/p?region=x&a=b'");
        assert_eq!(word("").unwrap(), "''");
        assert_eq!(word("100%p").unwrap(), "100%%p");
        assert_eq!(word("it's").unwrap(), r"'it'\''s'");
        assert!(word("a\nb").is_none() && word("a\0b").is_none());
    }

    #[test]
    fn the_shell_reads_every_word_back() {
        let texts = [
            "a b",
            "it's",
            "\"x\" $HOME `id` \\ ;&|<>(){}*?[]~#!",
            "%f%p%%",
            "ü ß",
            "-n",
            "''",
            "'",
        ];
        for text in texts {
            // What PostgreSQL makes of a command without placeholders.
            let after_server = word(text).unwrap().replace("%%", "%");
            let script = format!("printf %s {after_server}");
            let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
