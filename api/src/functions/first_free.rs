//! `book_first_free`: of several times the first that is still free is booked, in one transaction.
//!
//! For a caller who has said "the half past two, or else three". Deliberately absent: times that he has not agreed to.

use chrono::{DateTime, Utc};
use serde_json::json;
use store::Candidate;

use super::book::{self, starts_at};
use super::{Call, Caller, Function};
use crate::arguments::{self, Arguments};
use crate::candidates::CANDIDATES_MAX;
use crate::problem::Problem;
use crate::reply::Reply;

/// Books the first that is free.
pub(super) async fn run(call: &Call<'_>, caller: &Caller) -> Result<Reply, Problem> {
    let wanted = match candidates(call) {
        Ok(wanted) => wanted,
        Err(reply) => return Ok(reply.with("booked", false)),
    };
    let first = wanted.first().ok_or_else(Problem::internal)?.0;
    let wish = match book::understand(call, caller, |_| Ok(first)) {
        Ok(wish) => wish,
        Err(reply) => return Ok(reply.with("booked", false)),
    };
    let mut times = Vec::new();
    for (starts_at, args) in &wanted {
        match book::staff(call, args, wish.branch, wish.service) {
            Ok(staff_id) => {
                times.push(Candidate { staff_id: staff_id.or(wish.staff_id), starts_at: *starts_at });
            }
            Err(reply) => return Ok(reply.with("booked", false)),
        }
    }
    book::accept(call, caller, wish, Function::BookFirstFree, &times).await
}

/// The times that were said, each with what was said beside it, without those that are over.
fn candidates(call: &Call<'_>) -> Result<Vec<(DateTime<Utc>, Arguments)>, Reply> {
    let listed = call.args.list(arguments::CANDIDATES);
    if listed.is_empty() {
        return Err(book::missing(call, &["candidates"]));
    }
    let mut wanted = Vec::new();
    for one in listed.into_iter().take(CANDIDATES_MAX) {
        let said = if one.is_string() { json!({ "datetime": one }) } else { one };
        let args = Arguments::of(Some(said));
        wanted.push((starts_at(call, &args)?, args));
    }
    wanted.retain(|(starts_at, _)| *starts_at > call.now);
    if wanted.is_empty() { Err(book::in_the_past(call)) } else { Ok(wanted) }
}
