//! What a person does with the sealed secrets: list them, seal them anew, take one away. No value leaves this file.
//!
//! Absent: setting one (`secret`), and any change that is not noted.

use crate::Store;
use crate::error::StoreError;
use crate::operator::note_operator;
use crate::secret::{Sealed, SecretKind};
use chrono::{DateTime, Utc};

/// A secret without its value.
#[derive(Clone, PartialEq, Debug)]
pub struct SecretView {
    /// Whose.
    pub company_id: i32,
    /// Whose, for people.
    pub company: String,
    /// What it is for.
    pub kind: SecretKind,
    /// Which; the larger is the newer.
    pub secret_id: i64,
    /// The key that seals it.
    pub key_id: String,
    /// Is that the key that seals now, the first one that is set?
    pub is_current: bool,
    /// Is it the newest of its kind: the one that is used to ask, and to sign?
    pub is_newest: bool,
    /// When it was set.
    pub created_at: DateTime<Utc>,
    /// How long ago that was, by the database's clock.
    pub age_seconds: i64,
}

/// What came of taking a secret away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removed {
    /// It is gone, from this moment on.
    Done(SecretKind),
    /// It is the newest of its kind: nothing was changed.
    Newest(SecretKind),
    /// This company has no such secret.
    Unknown,
}

impl Store {
    /// The key that seals what is set or sealed anew.
    pub fn sealing_key_id(&self) -> Option<&str> {
        self.sealing_keys.first().map(|key| key.id.as_str())
    }

    /// Every secret, of one company or of all, by company and kind, the newest first.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn sealed_secrets(&self, company_id: Option<i32>) -> Result<Vec<SecretView>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT s.company_id, c.slug, s.kind, s.secret_id, s.key_id, s.created_at,
                      s.secret_id = max(s.secret_id) OVER (PARTITION BY s.company_id, s.kind) AS "is_newest!",
                      EXTRACT(EPOCH FROM clock_timestamp() - s.created_at)::bigint AS "age_seconds!"
               FROM company_secret s JOIN company c USING (company_id)
               WHERE $1::int IS NULL OR s.company_id = $1 ORDER BY c.slug, s.kind, s.secret_id DESC"#,
            company_id
        )
        .fetch_all(&self.pool)
        .await?;
        let current = self.sealing_key_id();
        rows.into_iter()
            .map(|r| {
                Ok(SecretView {
                    company_id: r.company_id,
                    company: r.slug,
                    kind: kind(&r.kind)?,
                    secret_id: r.secret_id,
                    is_current: current == Some(r.key_id.as_str()),
                    key_id: r.key_id,
                    is_newest: r.is_newest,
                    created_at: r.created_at,
                    age_seconds: r.age_seconds,
                })
            })
            .collect()
    }

    /// Seals with the first key every secret of a company that is sealed with another one: all of them or none, each row
    /// under its lock. Whoever reads meanwhile opens the old seal or the new one. Returns how many; none is no change.
    ///
    /// # Errors
    /// Postgres is away; `Broken`: no key is set, or one of the secrets does not open with any key that is set.
    pub async fn reseal(&self, company_id: i32, why: &str) -> Result<usize, StoreError> {
        self.retrying("reseal", || self.reseal_once(company_id, why)).await
    }

    async fn reseal_once(&self, company_id: i32, why: &str) -> Result<usize, StoreError> {
        let key = self.sealing_keys.first().ok_or(StoreError::Broken { what: "no sealing key is set" })?;
        let mut tx = self.pool.begin().await?;
        let rows = sqlx::query!(
            "SELECT kind, secret_id, key_id, nonce, sealed FROM company_secret WHERE company_id = $1 AND key_id <> $2
             ORDER BY secret_id FOR NO KEY UPDATE",
            company_id,
            key.id
        )
        .fetch_all(&mut *tx)
        .await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let mut resealed = Vec::new();
        for row in rows {
            let kind = kind(&row.kind)?;
            let old = Sealed { key_id: row.key_id, nonce: row.nonce, sealed: row.sealed };
            let secret = old.open(&self.sealing_keys, company_id, kind)?;
            let (nonce, sealed) = key.seal(company_id, kind, &secret)?;
            sqlx::query!(
                "UPDATE company_secret SET key_id = $4, nonce = $5, sealed = $6
                 WHERE company_id = $1 AND kind = $2 AND secret_id = $3",
                company_id,
                kind.as_str(),
                row.secret_id,
                key.id,
                &nonce[..],
                sealed
            )
            .execute(&mut *tx)
            .await?;
            resealed.push(named(kind, row.secret_id));
        }
        note_operator(&mut tx, company_id, "secrets rotate", &resealed.join(", "), Some(why)).await?;
        tx.commit().await?;
        Ok(resealed.len())
    }

    /// Takes away a secret that a newer one of its kind has replaced. It need not open.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn remove_secret(&self, company_id: i32, secret_id: i64, why: &str) -> Result<Removed, StoreError> {
        self.retrying("remove_secret", || self.remove_secret_once(company_id, secret_id, why)).await
    }

    async fn remove_secret_once(&self, company_id: i32, secret_id: i64, why: &str) -> Result<Removed, StoreError> {
        let mut tx = self.pool.begin().await?;
        // Who sets one holds this lock, too: which is the newest does not change meanwhile.
        sqlx::query!("SELECT company_id FROM company WHERE company_id = $1 FOR NO KEY UPDATE", company_id)
            .fetch_optional(&mut *tx)
            .await?;
        let row = sqlx::query!(
            r#"SELECT kind, NOT EXISTS (SELECT FROM company_secret n WHERE n.company_id = s.company_id AND n.kind = s.kind
                                          AND n.secret_id > s.secret_id) AS "is_newest!"
               FROM company_secret s WHERE company_id = $1 AND secret_id = $2"#,
            company_id,
            secret_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(Removed::Unknown) };
        let kind = kind(&row.kind)?;
        if row.is_newest {
            return Ok(Removed::Newest(kind));
        }
        sqlx::query!(
            "DELETE FROM company_secret WHERE company_id = $1 AND kind = $2 AND secret_id = $3",
            company_id,
            kind.as_str(),
            secret_id
        )
        .execute(&mut *tx)
        .await?;
        note_operator(&mut tx, company_id, "secrets remove", &named(kind, secret_id), Some(why)).await?;
        tx.commit().await?;
        Ok(Removed::Done(kind))
    }
}

fn kind(word: &str) -> Result<SecretKind, StoreError> {
    SecretKind::parse(word).ok_or(StoreError::Broken { what: "a secret is of an unknown kind" })
}

fn named(kind: SecretKind, secret_id: i64) -> String {
    format!("{}/{secret_id}", kind.as_str())
}
