//! Numbers in digits and in words.

const DE: [&str; 20] = [
    "null",
    "eins",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "elf",
    "zwölf",
    "dreizehn",
    "vierzehn",
    "fünfzehn",
    "sechzehn",
    "siebzehn",
    "achtzehn",
    "neunzehn",
];
const DE_TENS: [&str; 4] = ["zwanzig", "dreißig", "vierzig", "fünfzig"];
const EN: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const EN_TENS: [&str; 4] = ["twenty", "thirty", "forty", "fifty"];
const EN_ORDINALS: [&str; 20] = [
    "zeroth",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
];

/// Digits of one of these lengths.
pub(crate) fn digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<u32> {
    (lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `14`, `vierzehn`, `einundzwanzig`, `twenty-five`: 0 to 59.
pub(crate) fn cardinal(word: &str) -> Option<u32> {
    digits(word, 1..=2).filter(|n| *n < 60).or_else(|| german(&spelt(word))).or_else(|| english(word))
}

/// `3.`, `dritten`, `3rd`, `twenty-fifth`: 1 to 31.
pub(crate) fn ordinal(word: &str) -> Option<u32> {
    let suffixes = ["st", "nd", "rd", "th", "."];
    let by_digits = suffixes.iter().find_map(|suffix| digits(word.strip_suffix(suffix)?, 1..=2));
    let n = by_digits.or_else(|| german_ordinal(&spelt(word))).or_else(|| english_ordinal(word))?;
    (1..=31).contains(&n).then_some(n)
}

/// Umlauts that were written as two letters, and `ss`.
fn spelt(word: &str) -> String {
    word.replace("fuenf", "fünf").replace("zwoelf", "zwölf").replace("dreissig", "dreißig")
}

fn place(list: &[&str], word: &str) -> Option<u32> {
    list.iter().position(|known| *known == word).and_then(|n| u32::try_from(n).ok())
}

fn german(word: &str) -> Option<u32> {
    if matches!(word, "ein" | "eine" | "einem" | "einen" | "einer") {
        return Some(1);
    }
    if word == "zwo" {
        return Some(2);
    }
    if let Some(n) = place(&DE, word) {
        return Some(n);
    }
    let (ones, tens) = word.rsplit_once("und").unwrap_or(("null", word));
    let ones = if ones == "ein" { 1 } else { place(&DE, ones).filter(|n| *n < 10)? };
    Some((place(&DE_TENS, tens)? + 2) * 10 + ones)
}

fn german_ordinal(word: &str) -> Option<u32> {
    let stem = ["te", "ten", "ter", "tes", "tem"].iter().find_map(|ending| word.strip_suffix(ending))?;
    match stem {
        "ers" => Some(1),
        "drit" => Some(3),
        "sieb" => Some(7),
        "ach" => Some(8),
        _ => german(stem).filter(|n| *n < 20).or_else(|| german(stem.strip_suffix('s')?).filter(|n| *n >= 20)),
    }
}

fn english(word: &str) -> Option<u32> {
    if let Some(n) = place(&EN, word) {
        return Some(n);
    }
    let (tens, ones) = word.split_once('-').unwrap_or((word, "zero"));
    Some((place(&EN_TENS, tens)? + 2) * 10 + place(&EN, ones).filter(|n| *n < 10)?)
}

fn english_ordinal(word: &str) -> Option<u32> {
    match word {
        "twentieth" => return Some(20),
        "thirtieth" => return Some(30),
        _ => {}
    }
    if let Some(n) = place(&EN_ORDINALS, word) {
        return Some(n);
    }
    let (tens, ones) = word.split_once('-')?;
    Some((place(&EN_TENS, tens)? + 2) * 10 + place(&EN_ORDINALS, ones).filter(|n| (1..10).contains(n))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_in_words() {
        let known =
            [("null", 0), ("ein", 1), ("zwölf", 12), ("zwoelf", 12), ("einundzwanzig", 21), ("fünfundvierzig", 45)];
        let english = [("zero", 0), ("one", 1), ("twelve", 12), ("twenty", 20), ("forty-five", 45), ("59", 59)];
        for (word, n) in known.into_iter().chain(english) {
            assert_eq!(cardinal(word), Some(n), "{word}");
        }
        for no_number in ["", "und", "zwanzigund", "elfundzwanzig", "twenty-", "60", "007", "-1", "sechzig"] {
            assert_eq!(cardinal(no_number), None, "{no_number}");
        }
    }

    #[test]
    fn every_day_of_a_month_is_read_as_an_ordinal() {
        let german = [("ersten", 1), ("dritter", 3), ("siebte", 7), ("siebenten", 7), ("achten", 8), ("sechsten", 6)];
        let more = [("zwölften", 12), ("zwanzigsten", 20), ("einunddreißigsten", 31), ("3.", 3), ("31.", 31)];
        let english =
            [("1st", 1), ("22nd", 22), ("third", 3), ("twelfth", 12), ("twentieth", 20), ("thirty-first", 31)];
        for (word, n) in german.into_iter().chain(more).chain(english) {
            assert_eq!(ordinal(word), Some(n), "{word}");
        }
        for none in ["heute", "0.", "32.", "zwanzigten", "zweisten", "forty-first", "zeroth", "bitte", "te"] {
            assert_eq!(ordinal(none), None, "{none}");
        }
    }
}
