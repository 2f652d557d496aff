//! Input data: Nexmark events and words as text files, the same bytes on every machine.
//!
//! `nexmark` crate, default configuration, 10 000 events a second of event time. A stream is 100
//! files, file *i* of every stream covers the same stretch of event time, and names sort by age.
//! Made once and used again: `DATA.json` beside them says from which parameters they came, and is
//! written last, so that a half-written directory is made anew.

use std::{
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use nexmark::{
    EventGenerator,
    config::NexmarkConfig,
    event::{Auction, Bid, Event, Person},
};
use serde::{Deserialize, Serialize};

use crate::{
    arguments::Arguments,
    bounds::{BidScanner, Parser, TIME, time::write_time},
    error::{BenchError, Result},
    numbers::Numbers,
};

/// Event time of the first event: 2020-09-13 12:26:40 UTC.
const BASE_TIME_MS: u64 = 1_600_000_000_000;
/// Events a second of event time.
const EVENTS_PER_S: usize = 10_000;
const FILES: usize = 100;
const EVENTS: usize = 10_000_000;
const EVENTS_SMALL: usize = 1_000_000;
const WORDS: usize = 40_000_000;
const WORDS_SMALL: usize = 4_000_000;
/// Words in a line of text.
const WORDS_A_LINE: usize = 8;
/// Distinct words.
const VOCABULARY: u64 = 50_000;
/// Changes when the same parameters give other bytes.
const FORMAT: u32 = 1;

/// What is in a data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    format: u32,
    pub(crate) events: usize,
    pub(crate) bids: usize,
    pub(crate) auctions: usize,
    pub(crate) persons: usize,
    pub(crate) words: usize,
    /// Lines of eight words each.
    #[serde(default)]
    pub(crate) lines: usize,
}

/// Directory that `--dir` and `--small` name.
pub(crate) fn directory(arguments: &Arguments) -> PathBuf {
    let standard = if arguments.has("small") {
        "target/nexmark-small"
    } else {
        "target/nexmark"
    };
    PathBuf::from(arguments.text("dir").unwrap_or(standard))
}

/// A small data directory for tests: 50 s of event time.
#[cfg(test)]
pub(crate) fn tiny(dir: &Path) -> Result<()> {
    let mut held = nexmark_files(dir, 5_000, 100)?;
    held.words = 2_000;
    held.lines = held.words / WORDS_A_LINE;
    word_files(&dir.join("words"), held.words, 1)?;
    word_files(&dir.join("lines"), held.words, WORDS_A_LINE)?;
    write_marker(dir, &held)
}

/// What a directory holds.
pub(crate) fn marker(dir: &Path) -> Result<Marker> {
    fs::read_to_string(dir.join("DATA.json"))
        .ok()
        .and_then(|text| serde_json::from_str::<Marker>(&text).ok())
        .filter(|marker| marker.format == FORMAT)
        .ok_or_else(|| BenchError::NoData(dir.to_owned()))
}

/// Newest event time of the bids: that of the last line, since the generator writes them in order.
pub(crate) fn newest_ms(dir: &Path) -> Result<i64> {
    let path = dir.join("bids").join(format!("part-{:05}.json", FILES - 1));
    let lines = fs::read(&path).map_err(BenchError::io(&path))?;
    let last = memchr::memrchr(b'\n', lines.strip_suffix(b"\n").unwrap_or(&lines));
    let line = &lines[last.map_or(0, |end| end + 1)..];
    let mut newest_ms = 0;
    BidScanner::<TIME>::new(Parser::Serde).scan(line, |bid| newest_ms = bid.time_ms)?;
    Ok(newest_ms)
}

/// The command `data`.
pub(crate) fn run(arguments: &Arguments) -> Result<Vec<String>> {
    let dir = directory(arguments);
    let small = arguments.has("small");
    let events = arguments
        .number("events")?
        .unwrap_or(if small { EVENTS_SMALL } else { EVENTS });
    let mut held = marker(&dir).unwrap_or_default();
    let mut lines = Vec::new();
    if held.events == events {
        lines.push(format!("{} has {events} events already", dir.display()));
    } else {
        held = nexmark_files(&dir, events, EVENTS_PER_S)?;
        write_marker(&dir, &held)?;
    }
    if arguments.has("words") {
        let words = if small { WORDS_SMALL } else { WORDS };
        if held.words == words && held.lines == words / WORDS_A_LINE {
            lines.push(format!("{} has {words} words already", dir.display()));
        } else {
            word_files(&dir.join("words"), words, 1)?;
            word_files(&dir.join("lines"), words, WORDS_A_LINE)?;
            held.words = words;
            held.lines = words / WORDS_A_LINE;
            write_marker(&dir, &held)?;
        }
    }
    lines.push(format!(
        "{}: {} bids, {} auctions, {} persons, {} words, also in {} lines",
        dir.display(),
        held.bids,
        held.auctions,
        held.persons,
        held.words,
        held.lines
    ));
    Ok(lines)
}

fn write_marker(dir: &Path, marker: &Marker) -> Result<()> {
    let path = dir.join("DATA.json");
    let text = serde_json::json!(marker).to_string();
    fs::write(&path, text).map_err(BenchError::io(&path))
}

#[expect(
    clippy::disallowed_methods,
    reason = "generated input needs no durability and no crash tests"
)]
fn create(folder: &Path, number: usize, ending: &str) -> Result<BufWriter<fs::File>> {
    let path = folder.join(format!("part-{number:05}.{ending}"));
    let file = fs::File::create(&path).map_err(BenchError::io(&path))?;
    Ok(BufWriter::with_capacity(1 << 20, file))
}

fn empty_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(BenchError::io(folder))?;
    }
    fs::create_dir_all(folder).map_err(BenchError::io(folder))
}

fn nexmark_files(dir: &Path, events: usize, events_per_s: usize) -> Result<Marker> {
    let folders = ["bids", "auctions", "persons"].map(|stream| dir.join(stream));
    folders.iter().try_for_each(|folder| empty_folder(folder))?;
    let mut generator = EventGenerator::new(NexmarkConfig {
        base_time: BASE_TIME_MS,
        first_rate: events_per_s,
        next_rate: events_per_s,
        ..NexmarkConfig::default()
    });
    let mut marker = Marker {
        format: FORMAT,
        events,
        ..Marker::default()
    };
    let mut line = Vec::new();
    for number in 0..FILES {
        let mut bids = create(&folders[0], number, "json")?;
        let mut auctions = create(&folders[1], number, "json")?;
        let mut persons = create(&folders[2], number, "json")?;
        let share = events * (number + 1) / FILES - events * number / FILES;
        for event in generator.by_ref().take(share) {
            line.clear();
            let written = match event {
                Event::Bid(bid) => {
                    marker.bids += 1;
                    bid_line(&mut line, &bid).and_then(|()| bids.write_all(&line))
                }
                Event::Auction(auction) => {
                    marker.auctions += 1;
                    auction_line(&mut line, &auction).and_then(|()| auctions.write_all(&line))
                }
                Event::Person(person) => {
                    marker.persons += 1;
                    person_line(&mut line, &person).and_then(|()| persons.write_all(&line))
                }
            };
            written.map_err(BenchError::io(dir))?;
        }
        for mut file in [bids, auctions, persons] {
            file.flush().map_err(BenchError::io(dir))?;
        }
    }
    Ok(marker)
}

/// Text of the generator: letters, digits and punctuation that JSON leaves alone.
fn text(line: &mut Vec<u8>, key: &str, value: &str) -> std::io::Result<()> {
    debug_assert!(!value.contains(['"', '\\']));
    write!(line, ",\"{key}\":\"{value}\"")
}

fn time(line: &mut Vec<u8>, key: &str, ms: u64) -> std::io::Result<()> {
    write!(line, ",\"{key}\":\"")?;
    write_time(line, i64::try_from(ms).unwrap_or(i64::MAX));
    line.push(b'"');
    Ok(())
}

fn bid_line(line: &mut Vec<u8>, bid: &Bid) -> std::io::Result<()> {
    write!(
        line,
        "{{\"auction\":{},\"bidder\":{},\"price\":{}",
        bid.auction, bid.bidder, bid.price
    )?;
    text(line, "channel", &bid.channel)?;
    text(line, "url", &bid.url)?;
    time(line, "date_time", bid.date_time)?;
    text(line, "extra", &bid.extra)?;
    line.write_all(b"}\n")
}

fn auction_line(line: &mut Vec<u8>, auction: &Auction) -> std::io::Result<()> {
    write!(line, "{{\"id\":{}", auction.id)?;
    text(line, "item_name", &auction.item_name)?;
    text(line, "description", &auction.description)?;
    write!(
        line,
        ",\"initial_bid\":{},\"reserve\":{}",
        auction.initial_bid, auction.reserve
    )?;
    time(line, "date_time", auction.date_time)?;
    time(line, "expires", auction.expires)?;
    write!(
        line,
        ",\"seller\":{},\"category\":{}",
        auction.seller, auction.category
    )?;
    text(line, "extra", &auction.extra)?;
    line.write_all(b"}\n")
}

fn person_line(line: &mut Vec<u8>, person: &Person) -> std::io::Result<()> {
    write!(line, "{{\"id\":{}", person.id)?;
    text(line, "name", &person.name)?;
    text(line, "email_address", &person.email_address)?;
    text(line, "credit_card", &person.credit_card)?;
    text(line, "city", &person.city)?;
    text(line, "state", &person.state)?;
    time(line, "date_time", person.date_time)?;
    text(line, "extra", &person.extra)?;
    line.write_all(b"}\n")
}

/// Lines of some words; the word of rank r comes about 1/r as often as the first.
fn word_files(folder: &Path, words: usize, a_line: usize) -> Result<()> {
    let all_lines = words / a_line;
    empty_folder(folder)?;
    let ranks = zipf_bounds();
    let names: Vec<String> = (0..VOCABULARY).map(word).collect();
    let mut numbers = Numbers::new(1);
    for number in 0..FILES {
        let mut file = create(folder, number, "txt")?;
        let lines = all_lines * (number + 1) / FILES - all_lines * number / FILES;
        for nth in 1..=lines * a_line {
            let drawn = numbers.next();
            let rank = ranks.partition_point(|bound| *bound < drawn);
            let name = names.get(rank).map_or("", String::as_str);
            file.write_all(name.as_bytes())
                .and_then(|()| file.write_all(if nth % a_line == 0 { b"\n" } else { b" " }))
                .map_err(BenchError::io(folder))?;
        }
        file.flush().map_err(BenchError::io(folder))?;
    }
    Ok(())
}

/// Upper ends of the ranks' shares of all 64-bit numbers; integers only, so that every machine
/// draws the same words.
fn zipf_bounds() -> Vec<u64> {
    const ONE: u128 = 1 << 40;
    let weights = (1..=u128::from(VOCABULARY)).map(|rank| ONE / rank);
    let total: u128 = weights.clone().sum();
    let mut seen = 0;
    weights
        .map(|weight| {
            seen += weight;
            u64::try_from(seen * u128::from(u64::MAX) / total).unwrap_or(u64::MAX)
        })
        .collect()
}

/// A pronounceable word for a rank; frequent words are short, as in real text.
fn word(rank: u64) -> String {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 5] = b"aeiou";
    let letter = |letters: &[u8], index: u64| -> char {
        let index = usize::try_from(index).unwrap_or(0);
        char::from(letters[index % letters.len()])
    };
    let mut rest = rank;
    let mut name = String::new();
    loop {
        name.push(letter(CONSONANTS, rest % 16));
        name.push(letter(VOWELS, rest / 16 % 5));
        rest /= 80;
        if rest == 0 {
            return name;
        }
        rest -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_differ_and_bounds_rise() {
        let names: BTreeSet<String> = (0..VOCABULARY).map(word).collect();
        assert_eq!(names.len() as u64, VOCABULARY);
        let bounds = zipf_bounds();
        assert!(bounds.is_sorted());
        assert_eq!(bounds.last(), Some(&u64::MAX));
    }
}
