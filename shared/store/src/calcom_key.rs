//! The bucket of a Cal.com key: asked right before every request, told right after; and what a claim sees of it.
//!
//! Keyed by the key and not by the company, for two companies may share one. A transaction of its own, never inside
//! another one: whoever waits for this row holds nothing else. Deciding is the domain's (`budget`).

use crate::error::StoreError;
use crate::ledger::interval;
use crate::{JobRef, Store};
use chrono::{DateTime, TimeDelta, Utc};
use domain::budget::{Bucket, COUNTED_SECONDS, Down, Grant, Heard, PACE, Pass, Purpose, Rest, Terms, Why};
use domain::id::JobId;
use domain::job::Kind;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use std::time::Duration;

/// More older promises than this are not counted.
const AHEAD_MAX: i64 = 1_000;
/// A key that nobody has used for so many seconds is not told of.
const IDLE_SECONDS: i64 = 120;

/// So many of the oldest are rung for when a younger one comes upon a free turn.
const HANDED_OVER: i64 = 8;

/// So much of a fingerprint tells keys apart in metrics.
const NAME_BYTES: usize = 4;

/// Names a key of Cal.com without being of any use to whoever reads it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Of a key. Its own domain, so that no other hash of the same key is ever equal to it.
    pub fn of(key: &SecretString) -> Self {
        let hash = Sha256::new().chain_update(b"askpro calcom key\0").chain_update(key.expose_secret()).finalize();
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hash[..16]);
        Self(fingerprint)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a process wants of a key's bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// May I send one request?
    May(Purpose),
    /// This came of one that I sent.
    Heard(Pass, Heard),
}

/// The answer to a question. Waits are spans, for the clocks of two machines differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Send it, now.
    Go(Pass),
    /// Send nothing.
    Wait {
        /// It is of no use to ask again before.
        wait: Duration,
        /// What is in the way.
        why: Why,
    },
    /// Noted.
    Noted {
        /// It is of no use to try the same again before, if that is known.
        wait: Option<Duration>,
    },
}

/// Replies in the order of the questions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replies {
    /// One each.
    pub replies: Vec<Reply>,
    /// The next usable answer must be told of, too.
    pub listens: bool,
}

/// How a key stands, for metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyStanding {
    /// The first 8 hex digits of its fingerprint.
    pub name: String,
    /// Requests that are left of the window.
    pub left: u32,
    /// Is Cal.com taken to be down?
    pub down: bool,
}

/// A bucket as its row has it. A claim that finds no row reads nothing but `None`.
pub(crate) struct Row {
    pub(crate) fingerprint: Option<Vec<u8>>,
    pub(crate) second: Option<i64>,
    pub(crate) granted: Option<Vec<i32>>,
    pub(crate) paused_until: Option<DateTime<Utc>>,
    pub(crate) strikes: Option<i16>,
    pub(crate) struck_at: Option<DateTime<Utc>>,
    pub(crate) next_probe_at: Option<DateTime<Utc>>,
    pub(crate) probes: Option<i32>,
    pub(crate) probing: Option<bool>,
    pub(crate) up_since: Option<DateTime<Utc>>,
    /// The database's clock.
    pub(crate) now: DateTime<Utc>,
}

impl From<Row> for Bucket {
    fn from(row: Row) -> Self {
        let mut granted = [0; COUNTED_SECONDS];
        let counts = row.granted.unwrap_or_default();
        // A release that counts for longer left more of them: none may be forgotten.
        for (age, count) in counts.into_iter().enumerate() {
            granted[age.min(COUNTED_SECONDS - 1)] += count.unsigned_abs();
        }
        let down = row.next_probe_at.map(|next_probe_at| Down {
            next_probe_at,
            probes: row.probes.unwrap_or_default().unsigned_abs(),
            probing: row.probing.unwrap_or_default(),
        });
        Self {
            second: row.second.unwrap_or_default(),
            granted,
            paused_until: row.paused_until,
            strikes: row.strikes.unwrap_or_default().unsigned_abs(),
            struck_at: row.struck_at,
            down,
            up_since: row.up_since,
        }
    }
}

impl Store {
    /// Puts the questions to the bucket of a key, one after another, in one transaction.
    ///
    /// # Errors
    /// Postgres is away: then nobody may send anything.
    pub async fn ask_calcom_key(&self, key: Fingerprint, questions: &[Question]) -> Result<Replies, StoreError> {
        self.retrying("ask_calcom_key", || self.ask_once(key, questions)).await
    }

    async fn ask_once(&self, key: Fingerprint, questions: &[Question]) -> Result<Replies, StoreError> {
        let mut tx = self.pool.begin().await?;
        let (mut bucket, now) = match lock(&mut tx, key).await? {
            Some(found) => found,
            None => {
                sqlx::query!("INSERT INTO calcom_key (fingerprint) VALUES ($1) ON CONFLICT DO NOTHING", key.bytes())
                    .execute(&mut *tx)
                    .await?;
                lock(&mut tx, key).await?.ok_or(StoreError::Broken { what: "a Cal.com key has no bucket" })?
            }
        };
        let before = bucket.clone();
        let terms = self.terms();
        let replies = questions.iter().map(|question| answer(&mut bucket, now, terms, *question)).collect();
        let listens = bucket.listens();
        if bucket != before {
            write(&mut tx, key, &bucket).await?;
            tx.commit().await?;
        }
        if before.down.is_some() && bucket.down.is_none() {
            self.wake_waiting(key).await?;
        }
        Ok(Replies { replies, listens })
    }

    /// Cal.com is back: what waits for nothing but this key is due, one after another in the order of the promises.
    /// Waits for nobody's lock, and what it misses is due some seconds later.
    async fn wake_waiting(&self, key: Fingerprint) -> Result<(), StoreError> {
        sqlx::query!(
            "WITH free AS MATERIALIZED (
               SELECT j.company_id, j.job_id, j.created_at FROM job j
               WHERE j.company_id IN (SELECT s.company_id FROM company_secret s WHERE s.fingerprint = $1)
                 AND j.state IN ('available', 'retryable') AND j.kind = ANY($2)
                 AND j.not_before <= clock_timestamp() AND j.run_at > clock_timestamp()
               ORDER BY j.created_at, j.job_id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED),
             turns AS (SELECT company_id, job_id, row_number() OVER (ORDER BY created_at, job_id) - 1 AS before FROM free)
             UPDATE job SET run_at = LEAST(job.run_at, clock_timestamp() + turns.before * $4::interval),
                            rung_at = '-infinity'
             FROM turns WHERE job.company_id = turns.company_id AND job.job_id = turns.job_id",
            key.bytes(),
            &waits_for_the_key(),
            AHEAD_MAX,
            interval(PACE)?
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Somebody younger has come upon a free turn at a company's key: the oldest that wait for nothing but this key are due at
    /// once, unless they were rung for a moment ago. Without it a job that was told to wait is overtaken by all that come
    /// until it is found due. Waits for nobody's lock; returns what is to be rung.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn hand_over(&self, company_id: i32) -> Result<Vec<JobRef>, StoreError> {
        let rows = sqlx::query!(
            r#"WITH oldest AS MATERIALIZED (
                 SELECT j.company_id, j.job_id FROM (
                   SELECT o.company_id, o.job_id FROM job o
                   WHERE o.company_id IN (SELECT sharing.company_id FROM company_secret ours JOIN company_secret sharing
                                            ON sharing.fingerprint = ours.fingerprint
                                          WHERE ours.company_id = $1 AND ours.fingerprint IS NOT NULL)
                     AND o.state IN ('available', 'retryable') AND o.kind = ANY($2)
                     AND o.not_before <= clock_timestamp()
                   ORDER BY o.created_at, o.job_id LIMIT $3) first
                 JOIN job j USING (company_id, job_id)
                 WHERE j.state IN ('available', 'retryable')
                   AND (j.run_at > clock_timestamp() OR j.rung_at < clock_timestamp() - interval '1 second')
                 FOR NO KEY UPDATE OF j SKIP LOCKED)
               UPDATE job SET run_at = LEAST(job.run_at, now()), rung_at = now() FROM oldest
               WHERE job.company_id = oldest.company_id AND job.job_id = oldest.job_id
               RETURNING job.company_id, job.job_id"#,
            company_id,
            &waits_for_the_key(),
            HANDED_OVER
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|r| JobRef { company_id: r.company_id, job_id: JobId(r.job_id) }).collect())
    }

    /// The keys that somebody has used lately, and those whose Cal.com is down.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn calcom_keys(&self) -> Result<Vec<KeyStanding>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT fingerprint AS "fingerprint?", second AS "second?", granted AS "granted?", paused_until,
                      strikes AS "strikes?", struck_at, next_probe_at, probes AS "probes?", probing AS "probing?", up_since,
                      clock_timestamp() AS "now!"
               FROM calcom_key WHERE second > extract(epoch FROM clock_timestamp())::bigint - $1
                 OR next_probe_at IS NOT NULL"#,
            IDLE_SECONDS
        )
        .fetch_all(&self.pool)
        .await?;
        let standing = rows.into_iter().map(|mut row| {
            let name = row.fingerprint.take().unwrap_or_default().into_iter().take(NAME_BYTES);
            let (name, now) = (name.map(|byte| format!("{byte:02x}")).collect(), row.now);
            let bucket = Bucket::from(row);
            KeyStanding { name, left: bucket.left(now, self.terms()), down: bucket.down.is_some() }
        });
        Ok(standing.collect())
    }

    pub(crate) fn terms(&self) -> Terms {
        let timeout = TimeDelta::from_std(self.settings.calcom_timeout).unwrap_or(TimeDelta::MAX);
        Terms { requests: self.settings.calcom_requests_per_minute, timeout }
    }
}

/// Until when a claim of this job is of no use, and whether its turn is one that older ones should have had. Only where the
/// key is scarce, or an outage lies behind it or is not over, does it matter who is older, and only there is it counted.
pub(crate) async fn rest(
    conn: &mut PgConnection,
    terms: Terms,
    bucket: &Bucket,
    (job, created_at, now): (JobRef, DateTime<Utc>, DateTime<Utc>),
) -> Result<(Rest, bool), StoreError> {
    if !bucket.is_contested(now, terms) {
        return Ok((bucket.rest(now, terms, 0), false));
    }
    // Older, and waiting for nothing but this key: what waits for a look of its own has a floor.
    let ahead = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
             SELECT FROM job o
             WHERE o.company_id IN (SELECT sharing.company_id FROM company_secret ours JOIN company_secret sharing
                                      ON sharing.fingerprint = ours.fingerprint
                                    WHERE ours.company_id = $1 AND ours.fingerprint IS NOT NULL)
               AND o.state IN ('available', 'retryable') AND o.kind = ANY($2) AND o.not_before <= clock_timestamp()
               AND (o.created_at, o.job_id) < ($3, $4) LIMIT $5) older"#,
        job.company_id,
        &waits_for_the_key(),
        created_at,
        job.job_id.0,
        AHEAD_MAX
    )
    .fetch_one(conn)
    .await?;
    // Those to whom turns are handed over hand over none, or a few that wait for something else would ring for ever.
    let overtakes = ahead >= HANDED_OVER && bucket.rest(now, terms, 0).act.is_none();
    Ok((bucket.rest(now, terms, u32::try_from(ahead).unwrap_or(u32::MAX)), overtakes))
}

/// Kinds that bring promises; a hint that is to be read is nobody's promise.
fn waits_for_the_key() -> [String; 2] {
    [Kind::Booking, Kind::Sync].map(|kind| kind.as_str().to_owned())
}

/// Waits for the row. `None`: there is none yet. What a crash of PostgreSQL forgets of the last moment may cost a 429
/// and never a booking, so the commit does not wait for the disk.
async fn lock(conn: &mut PgConnection, key: Fingerprint) -> Result<Option<(Bucket, DateTime<Utc>)>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT fingerprint AS "fingerprint?", second AS "second?", granted AS "granted?", paused_until,
                  strikes AS "strikes?", struck_at, next_probe_at, probes AS "probes?", probing AS "probing?", up_since,
                  clock_timestamp() AS "now!"
           FROM (SELECT set_config('synchronous_commit', 'off', true)) lazily, calcom_key
           WHERE fingerprint = $1 FOR NO KEY UPDATE OF calcom_key"#,
        key.bytes()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let now = row.now;
        (Bucket::from(row), now)
    }))
}

async fn write(conn: &mut PgConnection, key: Fingerprint, bucket: &Bucket) -> Result<(), StoreError> {
    let granted = bucket.granted.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
    let down = bucket.down;
    sqlx::query!(
        "UPDATE calcom_key SET second = $2, granted = $3, paused_until = $4, strikes = $5, next_probe_at = $6,
                               probes = $7, probing = $8, up_since = $9, struck_at = $10
         WHERE fingerprint = $1",
        key.bytes(),
        bucket.second,
        &granted[..],
        bucket.paused_until,
        i16::try_from(bucket.strikes).unwrap_or(i16::MAX),
        down.map(|down| down.next_probe_at),
        down.map_or(0, |down| i32::try_from(down.probes).unwrap_or(i32::MAX)),
        down.is_some_and(|down| down.probing),
        bucket.up_since,
        bucket.struck_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn answer(bucket: &mut Bucket, now: DateTime<Utc>, terms: Terms, question: Question) -> Reply {
    let wait = |until: DateTime<Utc>| (until - now).to_std().unwrap_or_default();
    match question {
        Question::May(purpose) => match bucket.take(now, terms, purpose) {
            Grant::Go(pass) => Reply::Go(pass),
            Grant::Wait { until, why } => Reply::Wait { wait: wait(until), why },
        },
        Question::Heard(pass, heard) => Reply::Noted { wait: bucket.heard(now, pass, heard).map(wait) },
    }
}
