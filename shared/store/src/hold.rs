//! Holds: a time is kept for somebody who is still deciding. A hold is a slot like any other to everybody else, until it
//! runs out by the database's clock; it bears the id that its appointment will have.
//!
//! Order of locks: call, holder, staff by id; as in accept, the check stands beside its use. Absent: extending a hold.
//! Whoever wants more time books, or asks again when it has run out.

use crate::Store;
use crate::accept::lock_staff;
use crate::alternatives::known;
use crate::command::{AcceptError, BUSY_SECONDS};
use crate::diary::occupied;
use crate::error::StoreError;
use crate::place::{No, Spot, qualified, read_place, within_rules};
use crate::request::{CallFacts, Request};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use domain::id::{AppointmentId, SlotId};
use domain::phone::{Identity, Phone};
use domain::refusal::Refusal;
use domain::slot::TimeRange;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

/// A wish to keep a time.
#[derive(Clone, Debug)]
pub struct HoldCommand {
    /// Whose business.
    pub company_id: i32,
    /// Where.
    pub branch_id: i32,
    /// What.
    pub service_id: i32,
    /// With whom; `None` = anybody who does it there, the first who is free.
    pub staff_id: Option<i32>,
    /// When.
    pub starts_at: DateTime<Utc>,
    /// Whose quota it counts against.
    pub holder: Holder,
    /// In which call: its booking finds the hold without a token.
    pub call: Option<CallFacts>,
}

/// Who holds: one who may hold so many times at once and no more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A caller, whatever calls he makes.
    Caller(Identity),
    /// A program, by the public part of its API key; many people stand behind it.
    ApiKey(String),
}

impl Holder {
    fn as_text(&self) -> String {
        match self {
            Self::Caller(Identity::Phone(phone)) => format!("phone:{}", Phone::as_e164(phone)),
            Self::Caller(Identity::Anonymous(call_id)) => format!("call:{call_id}"),
            Self::ApiKey(key_id) => format!("key:{key_id}"),
        }
    }
}

/// What the record knows of a token. The token itself is shown once and never stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenHash(pub(crate) [u8; 32]);

impl TokenHash {
    /// Of a token as its owner shows it; whether there is such a hold is the record's to say.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// A time that is kept.
#[derive(Debug)]
pub struct Held {
    /// 256 random bits; seen here and never again. Whoever shows it may book or give back.
    pub token: SecretString,
    /// With whom.
    pub staff_id: i32,
    /// When.
    pub during: TimeRange,
    /// By the database's clock. From then on it keeps nobody out.
    pub expires_at: DateTime<Utc>,
    /// Until then, seconds, when this was answered.
    pub seconds_left: u32,
}

/// A time that is not kept: nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum NotHeld {
    /// The holder has as many as he may have.
    #[error("{most} times are held already")]
    TooMany {
        /// So many at once.
        most: u32,
        /// Until the first of them runs out.
        seconds: u32,
    },
    /// As a booking would not be accepted.
    #[error(transparent)]
    No(AcceptError),
}

/// The ids and the token of a hold, kept across retries.
struct Fresh {
    appointment_id: AppointmentId,
    slot_id: SlotId,
    token: SecretString,
}

impl Store {
    /// Keeps a time. A call that asks for what it holds already gets a new token for it and no more time.
    ///
    /// # Errors
    /// See [`NotHeld`]; in every case nothing was written, except that after `Store(Away)` nobody knows: then it runs out.
    pub async fn hold(&self, command: &HoldCommand) -> Result<Held, NotHeld> {
        let fresh = Fresh {
            appointment_id: AppointmentId(Uuid::now_v7()),
            slot_id: SlotId(Uuid::now_v7()),
            token: SecretString::from(format!("hold_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))),
        };
        match self.retrying("hold", || self.keep(command, &fresh)).await {
            Ok(Ok((staff_id, during, expires_at, seconds_left))) => {
                Ok(Held { token: fresh.token, staff_id, during, expires_at, seconds_left })
            }
            Ok(Err(no)) => Err(no),
            Err(StoreError::LockWait) => Err(NotHeld::No(AcceptError::Busy { retry_after_seconds: BUSY_SECONDS })),
            Err(error) => Err(NotHeld::No(AcceptError::Store(error))),
        }
    }

    async fn keep(&self, command: &HoldCommand, fresh: &Fresh) -> Result<Result<Kept, NotHeld>, StoreError> {
        let HoldCommand { company_id, branch_id, service_id, staff_id, starts_at, .. } = *command;
        let spot = Spot { company_id, branch_id, service_id, staff_id };
        let refused = |refusal| Ok(Err(NotHeld::No(AcceptError::Refused(refusal))));
        let mut tx = self.pool.begin().await?;
        let request = Request { company_id, key: None, call: command.call.as_ref() };
        request.open(&mut tx, fresh.appointment_id, None).await?;
        let holder = command.holder.as_text();
        lock_holder(&mut tx, company_id, &holder).await?;
        let (all, wanted) = match qualified(&mut tx, spot).await? {
            Ok(staff) => staff,
            Err(refusal) => return refused(refusal),
        };
        lock_staff(&mut tx, company_id, &wanted).await?;
        let Some(place) = read_place(&mut tx, spot, &wanted).await? else {
            return refused(Refusal::UnknownService);
        };
        let no = match within_rules(starts_at, &place) {
            Ok(during) => {
                if let Some(kept) = again(&mut tx, command, fresh, &wanted, during).await? {
                    self.commit(tx, &place.xid).await?;
                    return Ok(Ok(kept));
                }
                let most = self.holds_max(&command.holder);
                if let Some(seconds) = used_up(&mut tx, company_id, &holder, most).await? {
                    return Ok(Err(NotHeld::TooMany { most, seconds }));
                }
                let occupied = occupied(&mut tx, company_id, &wanted, during, fresh.appointment_id).await?;
                let free = wanted.iter().filter(|id| !occupied.iter().any(|o| o.staff_id == **id));
                for &staff_id in free {
                    if let Some(kept) = self.insert_hold(&mut tx, command, fresh, &holder, staff_id, during).await? {
                        self.commit(tx, &place.xid).await?;
                        return Ok(Ok(kept));
                    }
                }
                No::among(&occupied)
            }
            Err(no) => no,
        };
        let offers = match (no, &command.holder) {
            (No::Past, _) => vec![],
            (No::Soon | No::Closed | No::Taken | No::BeingReleased { .. }, holder) => {
                let customer_id = match holder {
                    Holder::Caller(identity) => known(&mut tx, company_id, identity).await?,
                    Holder::ApiKey(_) => None,
                };
                self.offers_to(&mut tx, spot, &place, all, starts_at, customer_id).await?
            }
        };
        refused(no.with(offers, place.minimum_minutes))
    }

    fn holds_max(&self, holder: &Holder) -> u32 {
        match holder {
            Holder::Caller(_) => self.settings.holds_per_caller,
            Holder::ApiKey(_) => self.settings.holds_per_api_key,
        }
    }

    async fn insert_hold(
        &self,
        conn: &mut PgConnection,
        command: &HoldCommand,
        fresh: &Fresh,
        holder: &str,
        staff_id: i32,
        during: TimeRange,
    ) -> Result<Option<Kept>, StoreError> {
        let row = sqlx::query!(
            r#"INSERT INTO slot (company_id, appointment_id, slot_id, segment_no, staff_id, during, state, promise_version,
                                 expires_at, token_hash, held_by, held_in_call)
               VALUES ($1, $2, $3, 1, $4, tstzrange($5, $6, '[)'), 'held', 1,
                       clock_timestamp() + make_interval(secs => $7), $8, $9, $10)
               ON CONFLICT ON CONSTRAINT slots_no_overlap DO NOTHING
               RETURNING expires_at AS "expires_at!",
                         CEIL(EXTRACT(EPOCH FROM expires_at - clock_timestamp()))::bigint AS "seconds!""#,
            command.company_id,
            fresh.appointment_id.0,
            fresh.slot_id.0,
            staff_id,
            during.start(),
            during.end(),
            self.settings.hold_ttl.as_secs_f64(),
            &TokenHash::of(fresh.token.expose_secret()).0[..],
            holder,
            command.call.as_ref().map(|call| call.call_id.as_str())
        )
        .fetch_optional(conn)
        .await?;
        Ok(row.map(|r| (staff_id, during, r.expires_at, whole(r.seconds))))
    }

    /// Gives one time back; `in_call`: only if that call holds it. `false`: no such hold, which is as good.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn release_hold(
        &self,
        company_id: i32,
        token: TokenHash,
        in_call: Option<&str>,
    ) -> Result<bool, StoreError> {
        let released = sqlx::query!(
            "UPDATE slot SET state = 'released', token_hash = NULL, held_by = NULL, ended_at = clock_timestamp()
             WHERE company_id = $1 AND token_hash = $2 AND state = 'held'
               AND ($3::text IS NULL OR held_in_call = $3)",
            company_id,
            &token.0[..],
            in_call
        )
        .execute(&self.pool)
        .await?;
        Ok(released.rows_affected() > 0)
    }

    /// Gives back all that a call holds; how many.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn release_holds_of(&self, company_id: i32, call_id: &str) -> Result<u64, StoreError> {
        // Row by row in one order, as everybody who touches several slots does it.
        let released = sqlx::query!(
            "WITH own AS MATERIALIZED (
               SELECT appointment_id, slot_id FROM slot
               WHERE company_id = $1 AND held_in_call = $2 AND state || '' = 'held'
               ORDER BY appointment_id FOR NO KEY UPDATE SKIP LOCKED)
             UPDATE slot s SET state = 'released', token_hash = NULL, held_by = NULL, ended_at = clock_timestamp()
             FROM own WHERE s.company_id = $1 AND s.appointment_id = own.appointment_id AND s.slot_id = own.slot_id",
            company_id,
            call_id
        )
        .execute(&self.pool)
        .await?;
        Ok(released.rows_affected())
    }

    /// Expires holds whose time is over; returns how many. Rows that somebody works on are his: it never waits while it
    /// holds rows.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn expire_holds(&self) -> Result<u64, StoreError> {
        let expired = sqlx::query!(
            "WITH over AS MATERIALIZED (
               SELECT company_id, appointment_id, slot_id FROM slot
               WHERE state = 'held' AND expires_at <= clock_timestamp() FOR NO KEY UPDATE SKIP LOCKED)
             UPDATE slot s SET state = 'expired', token_hash = NULL, held_by = NULL, ended_at = clock_timestamp()
             FROM over WHERE s.company_id = over.company_id AND s.appointment_id = over.appointment_id
               AND s.slot_id = over.slot_id"
        )
        .execute(&self.pool)
        .await?;
        Ok(expired.rows_affected())
    }
}

/// With whom, when, until when, and how long that is.
type Kept = (i32, TimeRange, DateTime<Utc>, u32);

fn whole(seconds: i64) -> u32 {
    u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
}

/// One holder's holds are counted and made one after another, with whatever staff.
async fn lock_holder(conn: &mut PgConnection, company_id: i32, holder: &str) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1::int, hashtext($2))", company_id, holder).execute(conn).await?;
    Ok(())
}

/// Has the holder as many as he may have? Then, how many seconds until the first runs out. His lock is held.
async fn used_up(conn: &mut PgConnection, company_id: i32, holder: &str, most: u32) -> Result<Option<u32>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "holds!",
                  COALESCE(CEIL(EXTRACT(EPOCH FROM min(expires_at) - clock_timestamp())), 1)::bigint AS "seconds!"
           FROM slot WHERE company_id = $1 AND held_by = $2 AND state || '' = 'held' AND expires_at > clock_timestamp()"#,
        company_id,
        holder
    )
    .fetch_one(conn)
    .await?;
    Ok((row.holds >= i64::from(most)).then(|| whole(row.seconds)))
}

/// The same call holds the same time already: a new token for it.
async fn again(
    conn: &mut PgConnection,
    command: &HoldCommand,
    fresh: &Fresh,
    staff: &[i32],
    during: TimeRange,
) -> Result<Option<Kept>, StoreError> {
    let Some(call) = &command.call else { return Ok(None) };
    let row = sqlx::query!(
        r#"UPDATE slot SET token_hash = $7
           WHERE company_id = $1 AND held_in_call = $2 AND staff_id = ANY($3) AND lower(during) = $4
             AND upper(during) = $5 AND state || '' = 'held' AND expires_at > clock_timestamp() AND held_by = $6
           RETURNING staff_id, expires_at AS "expires_at!",
                     CEIL(EXTRACT(EPOCH FROM expires_at - clock_timestamp()))::bigint AS "seconds!""#,
        command.company_id,
        call.call_id,
        staff,
        during.start(),
        during.end(),
        command.holder.as_text(),
        &TokenHash::of(fresh.token.expose_secret()).0[..]
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| (r.staff_id, during, r.expires_at, whole(r.seconds))))
}
