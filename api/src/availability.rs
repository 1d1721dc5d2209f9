//! What is free: what Cal.com says, less what the record has, within hours, notice and grid; and `GET /v1/availability`.
//!
//! Cal.com's half may be some seconds old; the record's half is one snapshot, read anew for each answer, after Cal.com has
//! answered. So whatever was accepted before a request began is never offered to it. It is advice: whoever books is decided
//! on by the booking transaction, which knows nothing of this. Deliberately absent: any state of its own, and holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::availability::{Availability, Told, Week, besides};
use axum::Json;
use axum::extract::{Query, State};
use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use domain::hours::{Diary, Offer, Wish, next_free};
use domain::refusal::Refusal;
use domain::slot::TimeRange;
use gate::BucketGate;
use serde::Serialize;
use settings::Settings;
use store::{AcceptError, Agenda, Branch, Own, SecretKind, Service, Store, Stretch, Whose};
use utoipa::ToSchema;

use crate::app::App;
use crate::key::MayRead;
use crate::problem::{Problem, ReadProblems};

/// The longest stretch that is looked at, in days.
pub(crate) const DAYS_MAX: i64 = 14;
/// What is looked for in one place ends here at the latest, so that an answer has an end.
const STARTS_MAX: usize = 5_000;

/// What is to be looked for.
pub(crate) struct Look<'a> {
    pub(crate) company_id: i32,
    pub(crate) branch: &'a Branch,
    pub(crate) service: &'a Service,
    /// With whom; `None` = anybody who does it there.
    pub(crate) staff_id: Option<i32>,
    /// Starts from here on …
    pub(crate) from: DateTime<Utc>,
    /// … and before this.
    pub(crate) to: DateTime<Utc>,
    /// So many of this moment or later are enough; Cal.com is asked no further.
    pub(crate) enough: (usize, DateTime<Utc>),
    /// Who asks.
    pub(crate) whose: Vec<Whose>,
    /// What this process takes the time to be; where the record's clock is ahead, that one counts.
    pub(crate) clock: DateTime<Utc>,
}

/// Where an answer comes from; the worst of its parts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Source {
    /// Cal.com was asked a moment ago.
    Calcom,
    /// Cal.com does not answer; it was asked some minutes ago.
    CalcomStale,
    /// Cal.com does not answer, or has not been asked: what only Cal.com knows is not in it.
    Record,
}

impl Source {
    /// Its name in answers and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Calcom => "calcom",
            Self::CalcomStale => "calcom_stale",
            Self::Record => "record",
        }
    }
}

/// What was found.
pub(crate) struct Seen {
    /// Free starts, earliest first.
    pub(crate) offers: Vec<Offer>,
    /// What the one who asks has there.
    pub(crate) own: Vec<Own>,
    /// The moment of the answer.
    pub(crate) now: DateTime<Utc>,
    /// The moment of which the oldest part of it speaks.
    pub(crate) as_of: DateTime<Utc>,
    pub(crate) source: Source,
    diaries: Vec<Diary>,
}

impl Seen {
    /// Who of those that were looked at is free then; hours and notice are not looked at.
    pub(crate) fn whom(&self, during: TimeRange) -> Option<i32> {
        let free = |diary: &&Diary| !diary.busy.iter().any(|busy| busy.overlaps(during));
        self.diaries.iter().find(free).map(|diary| diary.staff_id)
    }
}

/// Where one looks for what is free. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FreeTime {
    calcom: Availability,
    granularity_minutes: u16,
}

impl FreeTime {
    /// Makes it from the settings. No connection is made.
    ///
    /// # Errors
    /// An address cannot be read, or a number is too large.
    pub(crate) fn new(settings: &Settings, store: &Store) -> anyhow::Result<Self> {
        let calcom = Availability::new(settings, Arc::new(BucketGate::new(store.clone())))?;
        Ok(Self { calcom, granularity_minutes: u16::try_from(settings.slot_granularity_minutes)? })
    }

    /// Looks week by week, until there is enough.
    ///
    /// # Errors
    /// The database is away.
    pub(crate) async fn look(&self, store: &Store, look: &Look<'_>) -> Result<Seen, Problem> {
        let here = look.service.staff.iter().filter(|(branch_id, ..)| *branch_id == look.branch.branch_id);
        let hosts = here.filter(|(_, staff_id, _)| look.staff_id.is_none_or(|wanted| wanted == *staff_id));
        let (staff, event_types): (Vec<i32>, Vec<i64>) =
            hosts.map(|(_, staff, event_type)| (*staff, *event_type)).unzip();
        let mut key = store.secrets(look.company_id, SecretKind::Calcom).await?.into_iter().next();
        if look.to <= look.clock {
            key = None; // what is over is nobody's question to Cal.com
        }
        let first = Week::of(look.from);
        let (mut week, mut weeks) = (first, Vec::new());
        loop {
            let told = match &key {
                Some(key) => self.calcom.ask(look.company_id, key, &event_types, week).await,
                None => vec![None; event_types.len()],
            };
            if told.iter().all(Option::is_none) {
                key = None; // nobody waits for it a second time
            }
            weeks.push(told);
            let is_last = week.end() >= look.to;
            let (enough, wished) = look.enough;
            if is_last || enough < STARTS_MAX {
                let seen = self.compose(store, look, &staff, &weeks, (first.start(), week.end())).await?;
                let fitting = seen.offers.iter().filter(|offer| offer.during.start() >= wished).count();
                if is_last || fitting >= enough {
                    let source = seen.source.as_str();
                    metrics::counter!("askpro_availability_answers_total", "source" => source).increment(1);
                    return Ok(seen);
                }
            }
            week = week.next();
        }
    }

    /// Both halves together. `known`: the stretch about which Cal.com was asked.
    async fn compose(
        &self,
        store: &Store,
        look: &Look<'_>,
        staff: &[i32],
        weeks: &[Vec<Option<Told>>],
        known: (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Seen, Problem> {
        let service = look.service;
        let beyond = look.to.max(known.1) + TimeDelta::days(DAYS_MAX);
        let stretch = Stretch {
            company_id: look.company_id,
            staff: staff.to_vec(),
            from: look.from,
            to: known.1.min(look.to) + TimeDelta::minutes(service.duration_minutes.into()),
            whose: look.whose.clone(),
        };
        let Agenda { now, mut diaries, own } = store.agenda(&stretch).await?;
        let (mut source, mut as_of) = (Source::Calcom, now);
        for (diary, n) in diaries.iter_mut().zip(0..) {
            let told: Option<Vec<&Told>> = weeks.iter().map(|week| week.get(n).and_then(Option::as_ref)).collect();
            match told {
                Some(told) => {
                    let starts: Vec<_> = told.iter().flat_map(|told| told.starts.iter().copied()).collect();
                    diary.busy.extend(besides(&starts, service.duration_minutes, known.0, beyond));
                    if told.iter().any(|told| !told.is_fresh) {
                        source = source.max(Source::CalcomStale);
                    }
                    let oldest = told.iter().map(|told| told.age).max().unwrap_or_default();
                    as_of = as_of.min(now - TimeDelta::from_std(oldest).unwrap_or_default());
                }
                None => {
                    diary.busy.extend(TimeRange::new(known.1, beyond));
                    source = Source::Record;
                }
            }
        }
        let now = now.max(look.clock);
        let earliest = now + TimeDelta::minutes(service.minimum_notice_minutes.into());
        let day = |at: DateTime<Utc>| at.with_timezone(&look.branch.hours.time_zone).date_naive();
        let from = look.from.max(earliest);
        let wish = Wish {
            from,
            minutes: service.duration_minutes,
            granularity_minutes: self.granularity_minutes,
            days: u16::try_from((day(look.to) - day(from)).num_days() + 1).unwrap_or_default(),
            limit: STARTS_MAX,
        };
        let mut offers = next_free(&look.branch.hours, wish, &diaries);
        // Nobody can be at two places.
        let theirs = |offer: &Offer| own.iter().any(|own| own.during.overlaps(offer.during));
        offers.retain(|offer| offer.during.start() < look.to && !theirs(offer));
        Ok(Seen { offers, own, now, as_of, source, diaries })
    }
}

/// The first moment of a local day.
pub(crate) fn midnight(time_zone: Tz, day: NaiveDate) -> DateTime<Utc> {
    let at = |time: NaiveTime| time_zone.from_local_datetime(&day.and_time(time)).earliest();
    // Where a clock change skips midnight the day begins later.
    let first = (0..24).filter_map(|hour| NaiveTime::from_hms_opt(hour, 0, 0)).find_map(at);
    first.map_or(day.and_time(NaiveTime::MIN).and_utc(), |first| first.with_timezone(&Utc))
}

/// A start that is free.
#[derive(Serialize, ToSchema)]
pub(crate) struct FreeStart {
    /// With the branch's offset.
    starts_at: DateTime<FixedOffset>,
    /// With the branch's offset.
    ends_at: DateTime<FixedOffset>,
    /// With whom; the first of those who are free then.
    staff_id: i32,
}

/// What is free in a stretch of time.
#[derive(Serialize, ToSchema)]
pub(crate) struct FreeStarts {
    /// The branch's.
    time_zone: String,
    /// The stretch that was looked at.
    from: DateTime<FixedOffset>,
    /// Its end.
    to: DateTime<FixedOffset>,
    /// The moment of which the oldest part of this answer speaks. What we have accepted is in it up to now.
    as_of: DateTime<Utc>,
    /// `calcom`; `calcom_stale`: Cal.com does not answer, and was asked some minutes ago; `record`: only what we know, for
    /// Cal.com does not answer.
    source: &'static str,
    /// Earliest first. Advice: only a booking or a hold makes a time somebody's.
    slots: Vec<FreeStart>,
}

/// What is free.
///
/// Either `date`, a day on the branch's calendar, or `from` and `to`, at most 14 days apart.
#[utoipa::path(
    get, path = "/v1/availability", tag = "availability", security(("api_key" = ["read"])),
    params(("branch_id" = i32, Query, description = "where"),
           ("service_id" = i32, Query, description = "what"),
           ("staff_id" = Option<i32>, Query, description = "with whom; absent = anybody who does it there"),
           ("date" = Option<String>, Query, description = "a day on the branch's calendar, 2026-11-25"),
           ("from" = Option<String>, Query, description = "starts from here on, RFC 3339 with an offset"),
           ("to" = Option<String>, Query, description = "and before this, RFC 3339 with an offset")),
    responses((status = 200, body = FreeStarts), ReadProblems)
)]
pub(crate) async fn list(
    State(app): State<App>,
    MayRead(company_id): MayRead,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<FreeStarts>, Problem> {
    let asked = Asked::read(&query)?;
    let catalog = app.store.catalog(company_id).await?;
    let refuse = |refusal| Problem::not_accepted(AcceptError::Refused(refusal), Tz::UTC);
    let branch = catalog.branches.iter().find(|branch| branch.branch_id == asked.branch_id);
    let branch = branch.ok_or_else(|| refuse(Refusal::UnknownBranch))?;
    let service = catalog.services.iter().find(|service| service.service_id == asked.service_id);
    let does = |service: &Service, staff_id: Option<i32>| {
        let mut here = service.staff.iter().filter(|(branch_id, ..)| *branch_id == branch.branch_id);
        here.any(|(_, who, _)| staff_id.is_none_or(|wanted| wanted == *who))
    };
    let service = service.filter(|service| does(service, None)).ok_or_else(|| refuse(Refusal::UnknownService))?;
    if !does(service, asked.staff_id) {
        return Err(refuse(Refusal::UnknownStaff));
    }
    let time_zone = branch.hours.time_zone;
    let (from, to) = asked.stretch(time_zone)?;
    let look = Look {
        company_id,
        branch,
        service,
        staff_id: asked.staff_id,
        from,
        to,
        enough: (STARTS_MAX, from),
        whose: vec![],
        clock: (app.clock)(),
    };
    let seen = app.availability.look(&app.store, &look).await?;
    let local = |at: DateTime<Utc>| at.with_timezone(&time_zone).fixed_offset();
    let slot = |offer: &Offer| FreeStart {
        starts_at: local(offer.during.start()),
        ends_at: local(offer.during.end()),
        staff_id: offer.staff_id,
    };
    Ok(Json(FreeStarts {
        time_zone: time_zone.name().to_owned(),
        from: local(from),
        to: local(to),
        as_of: seen.as_of,
        source: seen.source.as_str(),
        slots: seen.offers.iter().map(slot).collect(),
    }))
}

/// The query, read.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    branch_id: i32,
    service_id: i32,
    staff_id: Option<i32>,
    when: When,
}

#[derive(Debug, PartialEq, Eq)]
enum When {
    Day(NaiveDate),
    Between(DateTime<Utc>, DateTime<Utc>),
}

impl Asked {
    const KNOWN: [&str; 6] = ["branch_id", "service_id", "staff_id", "date", "from", "to"];

    fn read(query: &BTreeMap<String, String>) -> Result<Self, Problem> {
        if let Some(unknown) = query.keys().find(|name| !Self::KNOWN.contains(&name.as_str())) {
            let shown: String = unknown.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(Problem::unknown(&shown, &Self::KNOWN.join(", ")));
        }
        let id = |name: &str| {
            let wrong = |_| Problem::invalid(name, "must be an integer of 32 bits");
            query.get(name).map(|text| text.parse::<i32>().map_err(wrong)).transpose()
        };
        let must = |name: &str| id(name)?.ok_or_else(|| Problem::missing(name));
        let moment = |name: &str| {
            // A plus sign that was not encoded has become a space on the way.
            let text = query.get(name).map(|text| text.trim().replace(' ', "+"));
            let wrong = |_| Problem::invalid(name, "must be RFC 3339 with an offset, 2026-11-25T14:30:00%2B01:00");
            text.map(|text| DateTime::parse_from_rfc3339(&text).map(|at| at.to_utc()).map_err(wrong)).transpose()
        };
        let when = match (query.get("date"), moment("from")?, moment("to")?) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                return Err(Problem::invalid("date", "give either a date, or from and to"));
            }
            (Some(day), None, None) => {
                let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok().filter(|_| day.len() == 10);
                When::Day(day.ok_or_else(|| Problem::invalid("date", "must be a date, 2026-11-25"))?)
            }
            (None, Some(from), Some(to)) if from < to && to - from <= TimeDelta::days(DAYS_MAX) => {
                When::Between(from, to)
            }
            (None, Some(_), Some(_)) => {
                return Err(Problem::invalid("to", "must be later than `from`, and by 14 days at most"));
            }
            (None, Some(_), None) => return Err(Problem::missing("to")),
            (None, None, Some(_)) => return Err(Problem::missing("from")),
            (None, None, None) => return Err(Problem::missing("date")),
        };
        Ok(Self { branch_id: must("branch_id")?, service_id: must("service_id")?, staff_id: id("staff_id")?, when })
    }

    fn stretch(&self, time_zone: Tz) -> Result<(DateTime<Utc>, DateTime<Utc>), Problem> {
        match self.when {
            When::Between(from, to) => Ok((from, to)),
            When::Day(day) => {
                let next = day.checked_add_days(Days::new(1)).ok_or_else(|| Problem::invalid("date", "is too late"))?;
                Ok((midnight(time_zone, day), midnight(time_zone, next)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<Asked, &'static str> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Asked::read(&query).map_err(|problem| problem.code())
    }

    #[test]
    fn a_day_or_two_moments() {
        let ids = [("branch_id", "1"), ("service_id", "2")];
        let with = |more: &[(&str, &str)]| read(&[&ids[..], more].concat());
        let day = with(&[("date", "2026-03-29")]).unwrap();
        let utc = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let bounds = day.stretch(chrono_tz::Europe::Berlin).unwrap();
        assert_eq!(bounds, (utc("2026-03-28T23:00:00Z"), utc("2026-03-29T22:00:00Z")), "a day of 23 hours");
        let long = Asked { when: When::Day(NaiveDate::from_ymd_opt(2026, 10, 25).unwrap()), ..day };
        let (from, to) = long.stretch(chrono_tz::Europe::Berlin).unwrap();
        assert_eq!((to - from).num_hours(), 25);
        let plus = with(&[("from", "2026-11-25T09:00:00 01:00"), ("to", "2026-11-26T09:00:00Z")]).unwrap();
        assert_eq!(plus.when, When::Between(utc("2026-11-25T08:00:00Z"), utc("2026-11-26T09:00:00Z")));
    }

    #[test]
    fn what_cannot_be_asked() {
        let ids = [("branch_id", "1"), ("service_id", "2")];
        let with = |more: &[(&str, &str)]| read(&[&ids[..], more].concat()).unwrap_err();
        assert_eq!(read(&[("service_id", "2"), ("date", "2026-11-25")]).unwrap_err(), "missing_field");
        assert_eq!(read(&[("branch_id", "1"), ("date", "2026-11-25")]).unwrap_err(), "missing_field");
        assert_eq!(with(&[]), "missing_field");
        assert_eq!(with(&[("to", "2026-11-26T09:00:00Z")]), "missing_field");
        assert_eq!(with(&[("from", "2026-11-26T09:00:00Z")]), "missing_field");
        assert_eq!(with(&[("when", "morgen")]), "unknown_field");
        for wrong in [
            &[("date", "25.11.2026")][..],
            &[("date", "2026-2-3")],
            &[("date", "2026-02-30")],
            &[("date", "2026-11-25"), ("from", "2026-11-25T09:00:00Z")],
            &[("from", "2026-11-25T09:00:00"), ("to", "2026-11-25T10:00:00Z")],
            &[("from", "2026-11-25T09:00:00Z"), ("to", "2026-11-25T09:00:00Z")],
            &[("from", "2026-11-25T09:00:00Z"), ("to", "2026-12-25T09:00:00Z")],
            &[("date", "2026-11-25"), ("staff_id", "Anna")],
        ] {
            assert_eq!(with(wrong), "invalid_field", "{wrong:?}");
        }
    }
}
