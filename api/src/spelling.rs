//! How agents spell the name of a function: kebab, camel or snake case, with the version that a tool's URL or name bears.
//!
//! Deliberately absent: which functions there are (`functions`).

/// `book-appointment`, `bookAppointment_v17` and `Book_Appointment` are `book_appointment`.
pub(crate) fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut before = '_';
    for c in name.trim().chars().take(64) {
        if c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit()) {
            snake.push('_');
        }
        before = c;
        match c {
            '-' | ' ' | '/' => snake.push('_'),
            c => snake.extend(c.to_lowercase()),
        }
    }
    let versionless = snake.rsplit_once('_').filter(|(name, version)| !name.is_empty() && is_version(version));
    versionless.map_or(snake.clone(), |(name, _)| name.to_owned())
}

/// `v4`, `v17`.
pub(crate) fn is_version(word: &str) -> bool {
    word.strip_prefix('v').is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::Function;

    #[test]
    fn one_name_for_every_spelling() {
        for spelling in [
            "book_appointment",
            "book-appointment",
            "bookAppointment",
            "BookAppointment",
            "book_appointment_v17",
            "book-appointment-v4",
            "bookAppointmentV17",
            " book_appointment ",
        ] {
            assert_eq!(snake(spelling), "book_appointment", "{spelling}");
        }
        assert_eq!(snake("cancel_vip"), "cancel_vip");
        assert_eq!(snake("_v17"), "_v17");
        assert_eq!(Function::named(&snake("start-booking")), Some(Function::Book));
        assert_eq!(Function::named(&snake("collect-appointment")), Some(Function::Book));
        assert_eq!(Function::named(&snake("query_appointment_v12")), Some(Function::Query));
        assert_eq!(Function::named(&snake("drop_table")), None);
    }
}
