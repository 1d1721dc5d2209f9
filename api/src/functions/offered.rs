//! What a call was offered last: "the first one" means it, and so does its time on the day that was asked about and is
//! closed. Agents repeat the day they asked about, not the one they were offered.
//!
//! Kept beside what was said (`call_said`); losing it costs a question back. Deliberately absent: a hold. Nothing is kept
//! for anybody by being offered.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use phrases::Phrase;
use serde::{Deserialize, Serialize};

use super::{Call, Caller};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::when;

/// Where it lies among what was said to functions; no function is called so.
const PLACE: &str = "(offered)";

/// What was offered, and for which day.
#[derive(Serialize, Deserialize)]
struct Offered {
    asked: Option<NaiveDate>,
    starts: Vec<DateTime<Utc>>,
}

/// Remembers what a reply offers. A failure costs a question back later, so it is only logged.
pub(super) async fn remember(call: &Call<'_>, caller: &Caller, reply: &Reply) {
    let starts = reply.offered();
    if starts.is_empty() {
        return;
    }
    let asked = when::said(&call.args, call.today()).ok().flatten().and_then(|phrase| phrase.day);
    let Ok(offered) = serde_json::to_string(&Offered { asked, starts }) else { return };
    if let Err(error) = call.app.store.remember_said(call.company_id(), &caller.call_id, PLACE, &offered).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "what was offered is not remembered");
    }
}

async fn last(call: &Call<'_>, caller: &Caller) -> Result<Option<Offered>, Problem> {
    let offered = call.app.store.last_said(call.company_id(), &caller.call_id, PLACE).await?;
    Ok(offered.and_then(|text| serde_json::from_str(&text).ok()))
}

/// The first of what was offered, on the day that is named, if one is.
pub(super) async fn first(
    call: &Call<'_>,
    caller: &Caller,
    day: Option<NaiveDate>,
) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(offered) = last(call, caller).await? else { return Ok(None) };
    let mut starts = offered.starts;
    starts.sort();
    let about = |at: &DateTime<Utc>| day.is_none_or(|day| call.local(*at).0 == day || offered.asked == Some(day));
    Ok(starts.into_iter().find(about))
}

/// What was offered at this time of the day, when this very day was asked about; `None` = nothing, or more than one.
pub(super) async fn instead_of(
    call: &Call<'_>,
    caller: &Caller,
    wished: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Problem> {
    let (day, time) = call.local(wished);
    let Some(offered) = last(call, caller).await?.filter(|offered| offered.asked == Some(day)) else { return Ok(None) };
    let mut then = offered.starts.into_iter().filter(|at| call.local(*at).1 == time);
    Ok(then.next().filter(|_| then.next().is_none()))
}

impl Call<'_> {
    pub(super) fn today(&self) -> NaiveDate {
        self.local(self.now).0
    }

    /// What the clock on the wall shows then.
    fn local(&self, at: DateTime<Utc>) -> (NaiveDate, NaiveTime) {
        let local = at.with_timezone(&self.time_zone());
        (local.date_naive(), local.time())
    }

    /// Does the caller want the first that is free, and on which day?
    pub(super) fn wants_the_first(&self) -> Option<Option<NaiveDate>> {
        match when::said(&self.args, self.today()) {
            Ok(Some(Phrase { day, clock: Some(phrases::Clock::First) })) => Some(day),
            Ok(_) | Err(_) => None,
        }
    }
}
