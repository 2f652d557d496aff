//! A reader for the part of TOML that our manifests and `tidy.toml` use: sections, keys, texts,
//! numbers, lists and inline tables. A key keeps its line, so that findings can point at it.

/// One `key = value` with its section, in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) section: String,
    pub(crate) key: String,
    /// The value as written; lists over several lines are joined.
    pub(crate) value: String,
    pub(crate) line: usize,
}

impl Entry {
    /// Every quoted text in the value.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.value
            .split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    }

    /// The value as a number; 0 if it is none.
    pub(crate) fn number(&self) -> usize {
        self.value.parse().unwrap_or(0)
    }
}

/// Reads all entries.
pub(crate) fn entries(text: &str) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut section = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((idx, line)) = lines.next() {
        let line = without_comment(line);
        if line.starts_with('[') {
            line.trim_matches(['[', ']']).clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            let mut value = value.trim().to_owned();
            while value.matches('[').count() > value.matches(']').count() {
                let Some((_, more)) = lines.next() else { break };
                value.push_str(without_comment(more));
            }
            found.push(Entry {
                section: section.clone(),
                key: key.trim().trim_matches('"').to_owned(),
                value,
                line: idx + 1,
            });
        }
    }
    found
}

fn without_comment(line: &str) -> &str {
    let mut in_text = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => in_text = !in_text,
            '#' if !in_text => return line[..at].trim(),
            _ => {}
        }
    }
    line.trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_lists_and_comments() {
        let found =
            entries("a.workspace = true\n[x.y]\n\"k # 1\" = [ # why\n \"one\",\n \"two\"]\nn = 7");
        assert_eq!(found[0].key, "a.workspace");
        assert_eq!(
            (
                found[1].section.as_str(),
                found[1].key.as_str(),
                found[1].line
            ),
            ("x.y", "k # 1", 3)
        );
        assert_eq!(found[1].texts(), ["one", "two"]);
        assert_eq!(found[2].number(), 7);
    }
}
