//! A text as words: small letters, without punctuation, what was written as one word and is two taken apart.

const WEEKDAY_STEMS: [&str; 7] = ["montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag", "sonntag"];

/// Splits a text into words.
pub(crate) fn split(text: &str) -> Vec<String> {
    let lower = text.to_lowercase().replace([',', ';', '!', '?', '(', ')', '"'], " ");
    lower.split_whitespace().flat_map(apart).collect()
}

fn apart(word: &str) -> Vec<String> {
    // `2026-11-25t14:30`
    if let Some((day, clock)) = word.split_once('t').filter(|(day, _)| day.len() == 10 && day.contains('-')) {
        return vec![day.to_owned(), clock.to_owned()];
    }
    if word == "tonight" {
        return vec!["today".to_owned(), "evening".to_owned()];
    }
    // `14uhr`, `3pm`
    for unit in ["uhr", "h", "am", "pm", "a.m.", "p.m."] {
        let number = word.strip_suffix(unit).filter(|n| n.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(number) = number.filter(|n| n.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'.')) {
            return vec![number.to_owned(), unit.to_owned()];
        }
    }
    // `montagnachmittag`
    for weekday in WEEKDAY_STEMS {
        if let Some(part) = word.strip_prefix(weekday).filter(|part| part.len() > 2) {
            return vec![weekday.to_owned(), part.trim_end_matches('.').to_owned()];
        }
    }
    let is_name = word.chars().all(|c| c.is_alphabetic() || c == '.');
    let is_short = word.len() <= 4;
    vec![if is_name && !is_short { word.trim_end_matches('.') } else { word }.to_owned()]
}
