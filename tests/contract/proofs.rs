//! The check itself is checked: requests and answers made wrong on purpose, each of which Prism has to find. Without that a
//! Prism that waves everything through, or a document that says nothing, would look like a clean record.

use anyhow::Context;
use axum::http::Method;
use chrono::{DateTime, Utc};
use sandbox::Sandbox;
use serde_json::{Value, json};

use crate::KEY;
use crate::calls::{HAIRCUT, moment};
use crate::relay::{Behind, Front};
use crate::tally::Tally;
use crate::verdict::{Endpoint, Verdict};

/// The version that our client names.
const VERSION: &str = "2024-08-13";
/// What Cal.com never had in a booking. It would be silently lost, or the booking refused.
const UNKNOWN_FIELD: &str = "reservationUid";

/// From this day after the beginning on nobody else books.
const DAY: i64 = 40;

/// # Errors
/// Nobody answers, or the sandbox does not book.
pub(crate) async fn make(front: &Front, behind: &Behind, sandbox: &Sandbox, tally: &mut Tally) -> anyhow::Result<()> {
    let raw = Raw { front, http: reqwest::Client::builder().no_proxy().build()? };
    let mut days = DAY..;
    let mut free = || days.next().map_or_else(|| moment(DAY, 0), |day| moment(day, 0));

    let mut unknown_field = wanted(free());
    unknown_field[UNKNOWN_FIELD] = json!("c1");
    let verdict = raw.ask(Endpoint::Create, "", Some(VERSION), &unknown_field).await?;
    tally.proof(format!("{} with a field that there is not", Endpoint::Create), blames(&verdict, UNKNOWN_FIELD));

    for endpoint in Endpoint::ALL {
        let (uid, body) = (sandbox.create_by_others(&wanted(free())).await?.uid, body(endpoint, free()));
        let verdict = raw.ask(endpoint, &uid, None, &body).await?;
        tally.proof(format!("{endpoint} without a version"), blames(&verdict, "cal-api-version"));

        behind.spoil_next();
        let verdict = raw.ask(endpoint, &uid, Some(VERSION), &body).await?;
        let found = matches!(&verdict, Verdict::WrongAnswer(why) if why.contains("'uid'"));
        tally.proof(format!("{endpoint}, whose answer names no booking"), found);
    }
    Ok(())
}

/// Whether the request is to blame, and for the right thing.
fn blames(verdict: &Verdict, what: &str) -> bool {
    matches!(verdict, Verdict::WrongRequest(why) if why.contains(what))
}

fn wanted(start: DateTime<Utc>) -> Value {
    let attendee = json!({ "name": "Max", "email": "max@example.com", "timeZone": "Europe/Berlin" });
    json!({ "eventTypeId": HAIRCUT, "start": start, "attendee": attendee })
}

/// What is right for this endpoint; a booking, or a move, to `start`.
fn body(endpoint: Endpoint, start: DateTime<Utc>) -> Value {
    match endpoint {
        Endpoint::Create => wanted(start),
        Endpoint::Cancel => json!({ "cancellationReason": "ill" }),
        Endpoint::Reschedule => json!({ "start": start, "reschedulingReason": "ill" }),
        Endpoint::List | Endpoint::Get => Value::Null,
    }
}

/// A caller without our client's care.
struct Raw<'a> {
    front: &'a Front,
    http: reqwest::Client,
}

impl Raw<'_> {
    async fn ask(&self, endpoint: Endpoint, uid: &str, version: Option<&str>, body: &Value) -> anyhow::Result<Verdict> {
        let url = format!("{}{}", self.front.url, endpoint.path().replace("{uid}", uid));
        let mut request = self.http.request(endpoint.method(), url).bearer_auth(KEY);
        if let Some(version) = version {
            request = request.header("cal-api-version", version);
        }
        if endpoint.method() == Method::POST {
            request = request.json(body);
        }
        request.send().await.context("Prism is silent")?;
        let exchange = self.front.take().pop().context("nobody has heard of a request")?;
        Ok(exchange.verdict)
    }
}
