//! Parts of JSON texts: `get_json_object`, `json_tuple`, keys and lengths.
//!
//! A text is read once and what is found is written at once; a text that is malformed has no parts. The
//! steps and their odd cases are Spark's, which are Hive's: what a star finds alone stands alone, and two
//! stars in a row make one flat list.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Int32Array, ListArray, StringArray},
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field},
};

use super::{
    copy,
    scan::{Grammar, Quoted, Scan, Syntax, deeper, unescape},
};
use crate::{
    ValueError,
    error::{arrow_failed, checked_size},
    texts::Texts,
};

/// What these functions take for JSON.
const GRAMMAR: Grammar = Grammar {
    unquoted_names: false,
    single_quotes: true,
    leading_zeros: false,
    any_escape: false,
    control_characters: true,
    comments: false,
    special_numbers: false,
};

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// `.name` or `['name']`.
    Key(Box<[u8]>),
    /// `[3]`.
    Index(u64),
    /// `[*]`.
    Items,
    /// `.*` or `['*']`, which finds nothing.
    Members,
}

/// A path such as `$.a[0].b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

impl Path {
    /// Reads a path; `None` if it is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Path> {
        let mut rest = text.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest)?;
            steps.push(step);
            rest = after;
        }
        Some(Path { steps })
    }

    /// Appends what the path finds; `false` (and the bytes as they were) if it is nothing.
    pub fn find(&self, text: &str, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let mut scan = Scan::text(text.as_bytes(), GRAMMAR);
        scan.skip_blanks();
        let mut found = Found {
            out,
            within: Within::Nothing,
        };
        let is_there = walk(&mut scan, &mut found, Style::Raw, &self.steps, 0) == Ok(true);
        if !is_there {
            out.truncate(before);
        }
        is_there
    }
}

fn step(text: &str) -> Option<(Step, &str)> {
    for star in [".*", "['*']"] {
        if let Some(after) = text.strip_prefix(star) {
            return Some((Step::Members, after));
        }
    }
    if let Some(name) = text.strip_prefix('.') {
        let name = name.trim_start();
        let (name, after) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
        return (!name.is_empty()).then(|| (Step::Key(name.as_bytes().into()), after));
    }
    if let Some(quoted) = text.strip_prefix("['") {
        let (name, after) = quoted.split_once('\'')?;
        let after = after.strip_prefix(']')?;
        return (!name.is_empty()).then(|| (Step::Key(name.as_bytes().into()), after));
    }
    let (inside, after) = text.strip_prefix('[')?.split_once(']')?;
    if inside == "*" {
        return Some((Step::Items, after));
    }
    let digits = inside.bytes().all(|b| b.is_ascii_digit());
    let index = inside.parse().ok().filter(|_| digits)?;
    Some((Step::Index(index), after))
}

/// How what is found is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// A text stands without quotes.
    Raw,
    Quoted,
    /// Items of lists stand in the list around them.
    Flat,
}

/// Where the next value is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    /// A list without items yet.
    Start,
    /// A list behind an item.
    Items,
}

struct Found<'a> {
    out: &'a mut Vec<u8>,
    within: Within,
}

impl Found<'_> {
    /// Before a value is written.
    fn begin(&mut self) {
        if self.within == Within::Items {
            self.out.push(b',');
        }
        if self.within == Within::Start {
            self.within = Within::Items;
        }
    }

    /// Writes a list whose items `items` writes.
    fn list<T>(&mut self, items: impl FnOnce(&mut Self) -> Result<T, Syntax>) -> Result<T, Syntax> {
        self.begin();
        let outside = std::mem::replace(&mut self.within, Within::Start);
        self.out.push(b'[');
        let result = items(self);
        self.out.push(b']');
        self.within = outside;
        result
    }
}

/// Follows the steps from the next value on, which it goes over; whether something was written.
fn walk(
    scan: &mut Scan<'_>,
    found: &mut Found<'_>,
    style: Style,
    steps: &[Step],
    depth: u8,
) -> Result<bool, Syntax> {
    match (scan.peek(), steps) {
        (b'[', []) if style == Style::Flat => {
            let mut any = false;
            each(scan, depth, |scan, depth| {
                any |= walk(scan, found, style, &[], depth)?;
                Ok(())
            })?;
            Ok(any)
        }
        (_, []) => {
            found.begin();
            if style == Style::Raw {
                copy::text(scan, depth, found.out)?;
            } else {
                copy::value(scan, depth, found.out)?;
            }
            Ok(true)
        }
        (b'{', [Step::Key(name), rest @ ..]) => member(scan, found, style, (name, rest), depth),
        (b'[', [Step::Items, Step::Items, rest @ ..]) => found.list(|found| {
            let mut any = false;
            each(scan, depth, |scan, depth| {
                any |= walk(scan, found, Style::Flat, rest, depth)?;
                Ok(())
            })?;
            Ok(any)
        }),
        (b'[', [Step::Items, rest @ ..]) if style == Style::Quoted => found.list(|found| {
            let mut any = false;
            each(scan, depth, |scan, depth| {
                any |= walk(scan, found, Style::Quoted, rest, depth)?;
                Ok(())
            })?;
            Ok(any)
        }),
        (b'[', [Step::Items, rest @ ..]) => some_or_one(scan, found, style, rest, depth),
        (b'[', [Step::Index(wanted), rest @ ..]) => {
            let style = match rest.first() {
                Some(Step::Items) => Style::Quoted,
                _ => style,
            };
            let (mut idx, mut any) = (0, false);
            each(scan, depth, |scan, depth| {
                if idx == *wanted {
                    any = walk(scan, found, style, rest, depth)?;
                } else {
                    scan.skip_value(depth)?;
                }
                idx += 1;
                Ok(())
            })?;
            Ok(any)
        }
        _ => {
            scan.skip_value(depth)?;
            Ok(false)
        }
    }
}

/// A star of which a single match stands without its list.
fn some_or_one(
    scan: &mut Scan<'_>,
    found: &mut Found<'_>,
    style: Style,
    rest: &[Step],
    depth: u8,
) -> Result<bool, Syntax> {
    let style = match style {
        Style::Raw | Style::Quoted => Style::Quoted,
        Style::Flat => Style::Flat,
    };
    let (before, within) = (found.out.len(), found.within);
    found.begin();
    let start = found.out.len();
    let outside = std::mem::replace(&mut found.within, Within::Start);
    found.out.push(b'[');
    let mut matches = 0_usize;
    each(scan, depth, |scan, depth| {
        matches += usize::from(walk(scan, found, style, rest, depth)?);
        Ok(())
    })?;
    found.within = outside;
    match matches {
        0 => {
            found.out.truncate(before);
            found.within = within;
        }
        1 => {
            found.out.remove(start);
        }
        _ => found.out.push(b']'),
    }
    Ok(matches > 0)
}

/// Follows a key into an object: the first member of this name in which something is found.
fn member(
    scan: &mut Scan<'_>,
    found: &mut Found<'_>,
    style: Style,
    (name, rest): (&[u8], &[Step]),
    depth: u8,
) -> Result<bool, Syntax> {
    let mut any = false;
    let mut scratch = Vec::new();
    members(scan, depth, |scan, key, depth| {
        let here = !any && is_named(key, name, &mut scratch) && scan.peek() != b'n';
        if here {
            any = walk(scan, found, style, rest, depth)?;
        } else {
            scan.skip_value(depth)?;
        }
        Ok(())
    })?;
    Ok(any)
}

fn is_named(key: Quoted<'_>, name: &[u8], scratch: &mut Vec<u8>) -> bool {
    if !key.escaped {
        return key.raw == name;
    }
    scratch.clear();
    unescape(key.raw, scratch);
    scratch == name
}

/// Goes over a list; `item` goes over each item.
fn each<'a>(
    scan: &mut Scan<'a>,
    depth: u8,
    mut item: impl FnMut(&mut Scan<'a>, u8) -> Result<(), Syntax>,
) -> Result<(), Syntax> {
    let depth = deeper(depth)?;
    scan.expect(b'[', "no list")?;
    scan.skip_blanks();
    if scan.peek() == b']' {
        scan.bump();
        return Ok(());
    }
    loop {
        item(scan, depth)?;
        if !scan.more(b']')? {
            return Ok(());
        }
    }
}

/// Goes over an object; `value` goes over the value of each key.
pub(crate) fn members<'a>(
    scan: &mut Scan<'a>,
    depth: u8,
    mut value: impl FnMut(&mut Scan<'a>, Quoted<'a>, u8) -> Result<(), Syntax>,
) -> Result<(), Syntax> {
    let depth = deeper(depth)?;
    scan.expect(b'{', "no object")?;
    scan.skip_blanks();
    if scan.peek() == b'}' {
        scan.bump();
        return Ok(());
    }
    loop {
        let key = scan.key()?;
        scan.skip_blanks();
        scan.expect(b':', "no colon after an object key")?;
        scan.skip_blanks();
        value(scan, key, depth)?;
        if !scan.more(b'}')? {
            return Ok(());
        }
    }
}

fn begin(text: &str) -> Scan<'_> {
    let mut scan = Scan::text(text.as_bytes(), GRAMMAR);
    scan.skip_blanks();
    scan
}

/// What each text has at the path beside it: texts without quotes, everything else as JSON.
///
/// # Errors
/// More text than a column holds.
pub fn get(texts: &StringArray, paths: &StringArray) -> Result<StringArray, ValueError> {
    let mut out = Texts::with_capacity(texts.len());
    let mut known: Option<(&str, Option<Path>)> = None;
    for pair in texts.iter().zip(paths) {
        let (Some(text), Some(path)) = pair else {
            out.push_null();
            continue;
        };
        if known.as_ref().is_none_or(|(last, _)| *last != path) {
            known = Some((path, Path::new(path)));
        }
        let path = known.as_ref().and_then(|(_, path)| path.as_ref());
        if path.is_some_and(|path| path.find(text, out.bytes())) {
            out.close()?;
        } else {
            out.push_null();
        }
    }
    out.finish()
}

/// The members of each text that is an object, one column for each column of names; of two with one name
/// the last counts.
///
/// # Errors
/// More text than a column holds.
pub fn tuple(texts: &StringArray, names: &[&StringArray]) -> Result<Vec<StringArray>, ValueError> {
    let mut columns: Vec<Texts> = names
        .iter()
        .map(|_| Texts::with_capacity(texts.len()))
        .collect();
    let mut values: Vec<Vec<u8>> = vec![Vec::new(); names.len()];
    let mut there = vec![false; names.len()];
    let mut scratch = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        there.fill(false);
        let read = members(
            &mut begin(text.unwrap_or_default()),
            0,
            |scan, key, depth| {
                let start = *scan;
                scan.skip_value(depth)?;
                let is_null = start.peek() == b'n';
                for (idx, column) in names.iter().enumerate() {
                    let is_meant = column.is_valid(row)
                        && is_named(key, column.value(row).as_bytes(), &mut scratch);
                    if is_null || !is_meant {
                        continue;
                    }
                    if let (Some(value), Some(there)) = (values.get_mut(idx), there.get_mut(idx)) {
                        value.clear();
                        copy::text(&mut start.clone(), depth, value)?;
                        *there = true;
                    }
                }
                Ok(())
            },
        );
        for (idx, column) in columns.iter_mut().enumerate() {
            match (read, there.get(idx), values.get(idx)) {
                (Ok(()), Some(true), Some(value)) => {
                    column.bytes().extend_from_slice(value);
                    column.close()?;
                }
                _ => column.push_null(),
            }
        }
    }
    columns.into_iter().map(Texts::finish).collect()
}

/// How many items each text has that is a list.
#[must_use]
pub fn lengths(texts: &StringArray) -> Int32Array {
    let length = |text: &str| {
        let mut count = 0_i32;
        each(&mut begin(text), 0, |scan, depth| {
            count = count.saturating_add(1);
            scan.skip_value(depth)
        })
        .ok()
        .map(|()| count)
    };
    texts.iter().map(|text| length(text?)).collect()
}

/// The keys of each text that is an object, in order.
///
/// # Errors
/// More text than a column holds.
pub fn keys(texts: &StringArray) -> Result<ArrayRef, ValueError> {
    let mut items = Texts::with_capacity(texts.len());
    let mut ends = vec![0];
    let mut count = 0_usize;
    let mut there = Vec::with_capacity(texts.len());
    let mut found: Vec<Quoted<'_>> = Vec::new();
    for text in texts {
        found.clear();
        let read = members(
            &mut begin(text.unwrap_or_default()),
            0,
            |scan, key, depth| {
                found.push(key);
                scan.skip_value(depth)
            },
        );
        there.push(read.is_ok());
        if read.is_ok() {
            for key in &found {
                if key.escaped {
                    unescape(key.raw, items.bytes());
                } else {
                    items.bytes().extend_from_slice(key.raw);
                }
                items.close()?;
            }
            count += found.len();
        }
        ends.push(checked_size(count)?);
    }
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let offsets = OffsetBuffer::new(ends.into());
    let nulls = NullBuffer::from(there);
    ListArray::try_new(item, offsets, Arc::new(items.finish()?), Some(nulls))
        .map(|list| Arc::new(list) as ArrayRef)
        .map_err(arrow_failed)
}
