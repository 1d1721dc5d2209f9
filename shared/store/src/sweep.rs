//! The sweep: what Cal.com lists is compared with the record. Whatever differs becomes a notice, as if Cal.com had sent
//! one; none of its webhooks is ever repeated.
//!
//! Deliberately absent: repairs. A notice's job makes them, under the appointment's lock, from a reading of its own.

use crate::Store;
use crate::error::StoreError;
use crate::inbox::{HintSource, Notice};
use crate::ledger::interval;
use crate::promise::span;
use chrono::{DateTime, TimeDelta, Utc};
use domain::answer::{Booking, BookingStatus, BookingUid};
use domain::appointment::Sync;
use domain::observe::Hint;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use uuid::Uuid;

/// Before the first sweep of a company this much of the past counts as unread: clocks differ.
const FIRST: TimeDelta = TimeDelta::minutes(10);

/// A company whose turn it is.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Which.
    pub company_id: i32,
    /// Changes after this are to be read, by Cal.com's clock; the last Δ again, for a replica shows them late.
    pub after: DateTime<Utc>,
    /// All bookings to come are to be read, too.
    pub audit: bool,
    /// The database's clock when the turn was taken.
    pub began: DateTime<Utc>,
}

/// How a booking at Cal.com and the record differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Difference {
    /// The recorded booking has been called off, or was not confirmed.
    Status,
    /// It stands at another time.
    Time,
    /// It has another host.
    Host,
    /// A booking with our marker lives, and no promise owns it.
    NotOurs,
    /// The recorded booking is not there.
    Missing,
}

impl Difference {
    /// Its word in tables, JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Time => "time",
            Self::Host => "host",
            Self::NotOurs => "not_ours",
            Self::Missing => "missing",
        }
    }
}

/// One difference, and the notice that has it repaired.
#[derive(Clone, Debug)]
pub struct Drift {
    /// How they differ.
    pub difference: Difference,
    /// Whose.
    pub appointment_id: Uuid,
    /// When the appointment begins, as promised.
    pub promised: DateTime<Utc>,
    /// When the booking begins, if there is one.
    pub found: Option<DateTime<Utc>>,
    /// To be taken if it is to be repaired.
    pub notice: Notice,
}

/// What a list says.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// What differs from the record.
    pub drifts: Vec<Drift>,
    /// Bookings of others that the record does not know as they are.
    pub external: Vec<Booking>,
}

/// A segment as the comparison needs it.
struct Known {
    lineage: Uuid,
    appointment_id: Uuid,
    promised: DateTime<Utc>,
    uid: Option<String>,
    stands: Option<DateTime<Utc>>,
    host_id: i64,
    sync: Sync,
    /// A person decides what becomes of it.
    held: bool,
    /// A request about it is under way, or was a moment ago.
    open: bool,
}

impl Store {
    /// Takes the turn of one company that was last swept more than `every` ago; `None` = nobody's turn. Two processes never
    /// get the same turn.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn sweep_turn(&self, every: Duration, audit_every: Duration) -> Result<Option<Turn>, StoreError> {
        sqlx::query!(
            "INSERT INTO calcom_cursor (company_id)
             SELECT company_id FROM company c WHERE NOT EXISTS (SELECT FROM calcom_cursor k WHERE k.company_id = c.company_id)
             ON CONFLICT ON CONSTRAINT one_cursor_per_company DO NOTHING"
        )
        .execute(&self.pool)
        .await?;
        let row = sqlx::query!(
            r#"WITH due AS MATERIALIZED (
                 SELECT k.company_id, k.audited_at < clock_timestamp() - $2::interval AS audit FROM calcom_cursor k
                 WHERE k.swept_at < clock_timestamp() - $1::interval
                   AND EXISTS (SELECT FROM company_secret s WHERE s.company_id = k.company_id AND s.kind = 'calcom')
                 ORDER BY k.swept_at LIMIT 1 FOR NO KEY UPDATE OF k SKIP LOCKED)
               UPDATE calcom_cursor k SET swept_at = clock_timestamp() FROM due WHERE k.company_id = due.company_id
               RETURNING k.company_id, k.read_until, due.audit AS "audit!", k.swept_at AS "began!""#,
            interval(span(every))?,
            interval(span(audit_every))?
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|r| Turn {
            company_id: r.company_id,
            after: r.read_until.unwrap_or(r.began - FIRST) - span(self.settings.quarantine),
            audit: r.audit,
            began: r.began,
        }))
    }

    /// Compares a list with the record. `complete`: the list has all bookings to come, so what is not in it is not there.
    ///
    /// # Errors
    /// Postgres is away, or an invariant is broken.
    pub async fn compare_listed(
        &self,
        company_id: i32,
        listed: &[Booking],
        complete: bool,
        began: DateTime<Utc>,
    ) -> Result<Compared, StoreError> {
        let known = self.known(company_id, listed, complete).await?;
        let by_lineage: HashMap<Uuid, &Known> = known.iter().map(|k| (k.lineage, k)).collect();
        let by_uid = self.by_uid(company_id, listed, &known).await?;
        let mut compared = Compared::default();
        let mut foreign = Vec::new();
        let mut seen = HashSet::new();
        for booking in listed {
            seen.insert(booking.uid.expose());
            let from = booking.rescheduled_from.as_ref().and_then(|uid| by_uid.get(uid.expose()));
            let lineage = booking.marker.as_ref().or_else(|| by_uid.get(booking.uid.expose())).or(from);
            let Some(known) = lineage.and_then(|lineage| by_lineage.get(lineage)) else {
                foreign.push(booking);
                continue;
            };
            // What a person knows of already is not told again with every list.
            let told = |difference: &Difference| {
                complete && known.held && matches!(difference, Difference::Status | Difference::Host)
            };
            if let Some(difference) = differs(known, booking).filter(|difference| !told(difference)) {
                let stamp = booking.updated_at.map_or_else(String::new, |at| at.to_rfc3339());
                let stamp = if complete { format!("{stamp} {}", began.format("%FT%R")) } else { stamp };
                // The record knows its status and time already where only its host differs: read it all the same.
                let said = (difference != Difference::Host).then(|| (booking.status.clone(), booking.start));
                let (status, start) = said.unzip();
                let hint = Hint { uid: booking.uid.clone(), status, start };
                let found = Some(booking.start);
                compared.drifts.push(drift(company_id, known, difference, found, hint, &stamp));
            }
        }
        let to_come = |known: &&Known| known.stands.is_some_and(|at| at > began);
        for known in known.iter().filter(|known| complete && !known.open && !known.held).filter(to_come) {
            let Some(uid) = known.uid.as_deref().filter(|uid| !seen.contains(uid)) else { continue };
            let hint = Hint { uid: BookingUid::from(uid.to_owned()), status: None, start: None };
            let stamp = began.format("%FT%R").to_string();
            compared.drifts.push(drift(company_id, known, Difference::Missing, None, hint, &stamp));
        }
        compared.external = self.unknown_time(company_id, foreign).await?;
        Ok(compared)
    }

    /// What a turn has read counts as read.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn swept(&self, turn: &Turn, listed: &[Booking]) -> Result<(), StoreError> {
        let newest = listed.iter().filter_map(|b| b.updated_at).max();
        sqlx::query!(
            "UPDATE calcom_cursor SET read_until = GREATEST(COALESCE(read_until, $2), $3),
                    audited_at = CASE WHEN $4 THEN GREATEST(audited_at, $5) ELSE audited_at END
             WHERE company_id = $1",
            turn.company_id,
            turn.began - FIRST,
            newest,
            turn.audit,
            turn.began
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The segments that the listed bookings may be of; with `complete` also all that have a booking to come.
    async fn known(&self, company_id: i32, listed: &[Booking], complete: bool) -> Result<Vec<Known>, StoreError> {
        let lineages: Vec<Uuid> = listed.iter().filter_map(|b| b.marker).collect();
        let uids = uids(listed);
        let quarantine = interval(span(self.settings.quarantine))?;
        let rows = sqlx::query!(
            r#"SELECT g.lineage, g.appointment_id, a.starts_at AS promised, g.calcom_uid, g.sync,
                      lower(l.during) AS stands, s.calcom_user_id,
                      COALESCE(g.held_version = a.version, false) AS "held!",
                      EXISTS (
                        SELECT FROM calcom_op o WHERE o.company_id = g.company_id AND o.appointment_id = g.appointment_id
                          AND (o.resolved_at IS NULL OR o.sent_at > clock_timestamp() - $5::interval)) AS "open!"
               FROM segment g JOIN appointment a USING (company_id, appointment_id)
                    JOIN staff s ON s.company_id = g.company_id AND s.staff_id = g.staff_id
                    LEFT JOIN slot l ON l.company_id = g.company_id AND l.appointment_id = g.appointment_id
                                    AND l.slot_id = g.calcom_slot_id
               WHERE g.company_id = $1
                 AND (g.lineage = ANY($2) OR g.calcom_uid = ANY($3)
                      OR EXISTS (SELECT FROM calcom_op o WHERE o.company_id = g.company_id
                                   AND o.appointment_id = g.appointment_id AND o.uid = ANY($3))
                      OR ($4 AND g.calcom_uid IS NOT NULL AND lower(l.during) > clock_timestamp()))"#,
            company_id,
            &lineages,
            &uids,
            complete,
            quarantine
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|r| {
                Ok(Known {
                    lineage: r.lineage,
                    appointment_id: r.appointment_id,
                    promised: r.promised,
                    uid: r.calcom_uid,
                    stands: r.stands,
                    host_id: r.calcom_user_id,
                    sync: Sync::parse(&r.sync).ok_or(StoreError::Broken { what: "a segment has an unknown sync" })?,
                    held: r.held,
                    open: r.open,
                })
            })
            .collect()
    }

    /// Under which of our lineages a uid is recorded, now or before.
    async fn by_uid(
        &self,
        company_id: i32,
        listed: &[Booking],
        known: &[Known],
    ) -> Result<HashMap<String, Uuid>, StoreError> {
        let uids = uids(listed);
        let rows = sqlx::query!(
            r#"SELECT o.uid AS "uid!", g.lineage FROM calcom_op o JOIN segment g USING (company_id, appointment_id, segment_no)
               WHERE o.company_id = $1 AND o.uid = ANY($2)"#,
            company_id,
            &uids
        )
        .fetch_all(&self.pool)
        .await?;
        let recorded = known.iter().filter_map(|k| Some((k.uid.clone()?, k.lineage)));
        Ok(rows.into_iter().map(|r| (r.uid, r.lineage)).chain(recorded).collect())
    }

    /// Of bookings that are none of ours those whose time the record does not know as it is.
    async fn unknown_time(&self, company_id: i32, foreign: Vec<&Booking>) -> Result<Vec<Booking>, StoreError> {
        let uids: Vec<String> = foreign.iter().map(|b| b.uid.expose().to_owned()).collect();
        let rows = sqlx::query!(
            r#"SELECT b.calcom_uid, lower(b.during) AS "starts_at!", upper(b.during) AS "ends_at!", s.calcom_user_id
               FROM external_busy b JOIN staff s USING (company_id, staff_id)
               WHERE b.company_id = $1 AND b.calcom_uid = ANY($2)"#,
            company_id,
            &uids
        )
        .fetch_all(&self.pool)
        .await?;
        let noted: HashMap<String, (DateTime<Utc>, DateTime<Utc>, i64)> =
            rows.into_iter().map(|r| (r.calcom_uid, (r.starts_at, r.ends_at, r.calcom_user_id))).collect();
        let news = |booking: &&Booking| match (noted.get(booking.uid.expose()), booking.lives(), booking.host_id) {
            (Some(at), true, Some(host)) => *at != (booking.start, booking.end, host),
            (Some(_), _, _) => true,
            (None, lives, _) => lives,
        };
        Ok(foreign.into_iter().filter(news).cloned().collect())
    }
}

fn uids(listed: &[Booking]) -> Vec<String> {
    let both = listed.iter().flat_map(|b| [Some(&b.uid), b.rescheduled_from.as_ref()]);
    both.flatten().map(|uid| uid.expose().to_owned()).collect()
}

fn differs(known: &Known, booking: &Booking) -> Option<Difference> {
    if known.uid.as_deref() != Some(booking.uid.expose()) {
        return booking.lives().then_some(Difference::NotOurs);
    }
    let awaits = known.sync == Sync::AwaitingConfirmation;
    if !booking.lives() || (booking.status == BookingStatus::Pending) != awaits {
        Some(Difference::Status)
    } else if known.stands != Some(booking.start) {
        Some(Difference::Time)
    } else if booking.host_id.is_some_and(|host| host != known.host_id) {
        Some(Difference::Host)
    } else {
        None
    }
}

fn drift(
    company_id: i32,
    known: &Known,
    difference: Difference,
    found: Option<DateTime<Utc>>,
    hint: Hint,
    stamp: &str,
) -> Drift {
    let body = format!("{} {} {stamp}", difference.as_str(), hint.uid.expose()).into_bytes();
    let chain = hint.uid.expose().to_owned();
    let lineage = Some(known.lineage);
    Drift {
        difference,
        appointment_id: known.appointment_id,
        promised: known.promised,
        found,
        notice: Notice { company_id, source: HintSource::Sweep, body, hint, replaces: None, lineage, chain },
    }
}
