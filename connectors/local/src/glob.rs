//! File name patterns as Hadoop has them: `*`, `?`, `[a-c]`, `[^a]`, `{json,csv}`, `\` before a
//! special character. A pattern matches one path component; `*` never crosses a `/`.

/// Whether `text` has a special character.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

/// The texts that `{a,b}` stands for, without braces; at most 4096.
pub(crate) fn expand(pattern: &str) -> Vec<String> {
    const EXPANDED_MAX: usize = 4096;
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        match braces(&pattern) {
            Some((before, choices, after)) if open.len() + done.len() < EXPANDED_MAX => {
                for choice in choices.iter().rev() {
                    open.push(format!("{before}{choice}{after}"));
                }
            }
            _ => done.push(pattern),
        }
    }
    done
}

/// The first group of braces: what is before it, its choices, what is after it.
fn braces(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let open = pattern.find('{')?;
    let mut depth = 0_usize;
    let mut choices = Vec::new();
    let mut start = open + 1;
    for (at, letter) in pattern.char_indices().skip_while(|(at, _)| *at < open) {
        match letter {
            '{' => depth += 1,
            ',' if depth == 1 => {
                choices.push(pattern.get(start..at)?);
                start = at + 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    choices.push(pattern.get(start..at)?);
                    return Some((pattern.get(..open)?, choices, pattern.get(at + 1..)?));
                }
            }
            _ => {}
        }
    }
    None
}

/// Whether `name` as a whole matches a pattern without braces.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on after the last star, if what follows it does not fit.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), name.get(n)) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            (Some(_), Some(letter)) => one(pattern.get(p..).unwrap_or(&[]), *letter),
            (None, Some(_)) | (Some(_), None) => None,
        };
        match (step, star) {
            (Some(used), _) => {
                p += used;
                n += 1;
            }
            (None, Some((after, at))) if at < name.len() => {
                star = Some((after, at + 1));
                p = after;
                n = at + 1;
            }
            _ => return false,
        }
    }
}

/// How much of the pattern stands for `letter`, if it does.
fn one(pattern: &[char], letter: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '\\' => (*pattern.get(1)? == letter).then_some(2),
        '[' => class(pattern, letter),
        plain => (*plain == letter).then_some(1),
    }
}

fn class(pattern: &[char], letter: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('^' | '!'));
    let first = if negated { 2 } else { 1 };
    let mut at = first;
    let mut found = false;
    loop {
        let low = *pattern.get(at)?;
        if low == ']' && at > first {
            return (found != negated).then_some(at + 1);
        }
        let range = pattern.get(at + 1) == Some(&'-');
        match pattern.get(at + 2).filter(|high| range && **high != ']') {
            Some(high) => {
                found |= (low..=*high).contains(&letter);
                at += 3;
            }
            None => {
                found |= low == letter;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(pattern: &str, name: &str) -> bool {
        expand(pattern).iter().any(|pattern| matches(pattern, name))
    }

    #[test]
    fn patterns() {
        for (pattern, name) in [
            ("*", ""),
            ("*.json", "a.json"),
            ("a*b*c", "axxbyyc"),
            ("part-?.csv", "part-1.csv"),
            ("[a-c]x", "bx"),
            ("[^a]x", "bx"),
            ("{a,b{c,d}}.x", "bd.x"),
            ("\\*", "*"),
            ("ü?", "üé"),
        ] {
            assert!(any(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.json", "a.csv"),
            ("?", ""),
            ("[a-c]x", "dx"),
            ("[^a]x", "ax"),
            ("{a,b}", "c"),
            ("[a", "a"),
            ("a*b", "ac"),
        ] {
            assert!(!any(pattern, name), "{pattern} {name}");
        }
    }
}
