//! A company's secrets, sealed: what lies in the database is of no use without a key from the environment.
//!
//! Bound into each seal are the company, the kind and the key's id: a row that is copied to another company does not
//! open there. Absent: caching.

use crate::Store;
use crate::calcom_key::Fingerprint;
use crate::error::StoreError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// What a secret is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SecretKind {
    /// Signs what Retell sends.
    Retell,
    /// Lets us into Cal.com.
    Calcom,
    /// Signs what Cal.com sends.
    CalcomWebhook,
}

impl SecretKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Retell, Self::Calcom, Self::CalcomWebhook];

    /// Reads its word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == word)
    }

    /// Its word in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retell => "retell",
            Self::Calcom => "calcom",
            Self::CalcomWebhook => "calcom_webhook",
        }
    }
}

/// A key that seals and opens, and its name.
#[derive(Clone)]
pub(crate) struct SealingKey {
    pub(crate) id: String,
    cipher: ChaCha20Poly1305,
}

impl SealingKey {
    pub(crate) fn read((id, key): &(String, SecretString)) -> Result<Self, StoreError> {
        let broken = |_| StoreError::Broken { what: "a sealing key is not 32 bytes of base64" };
        let bytes = STANDARD.decode(key.expose_secret().trim()).map_err(|_| broken(()))?;
        let cipher = ChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| broken(()))?;
        Ok(Self { id: id.clone(), cipher })
    }

    fn bound_to(&self, company_id: i32, kind: SecretKind) -> Vec<u8> {
        format!("{company_id}:{}:{}", kind.as_str(), self.id).into_bytes()
    }

    /// Nonce and seal, under a nonce of its own each time.
    pub(crate) fn seal(
        &self,
        company_id: i32,
        kind: SecretKind,
        secret: &SecretString,
    ) -> Result<([u8; 12], Vec<u8>), StoreError> {
        let nonce: [u8; 12] = rand::random();
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: &self.bound_to(company_id, kind) };
        let sealed = self.cipher.encrypt(Nonce::from_slice(&nonce), payload);
        Ok((nonce, sealed.map_err(|_| StoreError::Broken { what: "a secret could not be sealed" })?))
    }
}

/// A secret as it lies in the database.
pub(crate) struct Sealed {
    pub(crate) key_id: String,
    pub(crate) nonce: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
}

impl Sealed {
    /// Opens it with the key that it names.
    pub(crate) fn open(
        self,
        keys: &[SealingKey],
        company_id: i32,
        kind: SecretKind,
    ) -> Result<SecretString, StoreError> {
        let broken = || StoreError::Broken { what: "a secret does not open with the keys that are set" };
        let key = keys.iter().find(|k| k.id == self.key_id).ok_or_else(broken)?;
        let nonce: [u8; 12] = self.nonce.try_into().map_err(|_| broken())?;
        let payload = Payload { msg: &self.sealed, aad: &key.bound_to(company_id, kind) };
        let open = key.cipher.decrypt(Nonce::from_slice(&nonce), payload).map_err(|_| broken())?;
        Ok(SecretString::from(String::from_utf8(open).map_err(|_| broken())?))
    }
}

/// Two secrets of a kind are active at once, so that one can be changed without an outage.
const ACTIVE: i64 = 2;

impl Store {
    /// Makes a secret the newest of its kind; the two newest are active. The same as the newest again changes nothing.
    ///
    /// # Errors
    /// Postgres is away; no sealing key is set; no such company.
    pub async fn set_secret(&self, company_id: i32, kind: SecretKind, secret: &SecretString) -> Result<(), StoreError> {
        if let Some(newest) = self.secrets(company_id, kind).await?.first()
            && bool::from(newest.expose_secret().as_bytes().ct_eq(secret.expose_secret().as_bytes()))
        {
            return Ok(());
        }
        let key = self.sealing_keys.first().ok_or(StoreError::Broken { what: "no sealing key is set" })?;
        let fingerprint = fingerprint(kind, secret);
        let (nonce, sealed) = key.seal(company_id, kind, secret)?;
        let mut tx = self.pool.begin().await?;
        // Two at once go one after the other: else each keeps its own two.
        sqlx::query!("SELECT company_id FROM company WHERE company_id = $1 FOR NO KEY UPDATE", company_id)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(StoreError::Refused { constraint: "secret_belongs_to_a_company".to_owned() })?;
        sqlx::query!(
            "INSERT INTO company_secret (company_id, kind, key_id, nonce, sealed, fingerprint)
             VALUES ($1, $2, $3, $4, $5, $6)",
            company_id,
            kind.as_str(),
            key.id,
            &nonce[..],
            sealed,
            fingerprint.as_ref().map(Fingerprint::bytes)
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "DELETE FROM company_secret WHERE company_id = $1 AND kind = $2 AND secret_id NOT IN (
               SELECT secret_id FROM company_secret WHERE company_id = $1 AND kind = $2
               ORDER BY secret_id DESC LIMIT $3)",
            company_id,
            kind.as_str(),
            ACTIVE
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The active secrets of a kind, newest first.
    ///
    /// # Errors
    /// Postgres is away; `Broken`: one does not open with any key that is set.
    pub async fn secrets(&self, company_id: i32, kind: SecretKind) -> Result<Vec<SecretString>, StoreError> {
        let rows = sqlx::query!(
            "SELECT secret_id, key_id, nonce, sealed, fingerprint FROM company_secret WHERE company_id = $1 AND kind = $2
             ORDER BY secret_id DESC LIMIT $3",
            company_id,
            kind.as_str(),
            ACTIVE
        )
        .fetch_all(&self.pool)
        .await?;
        let mut secrets = Vec::new();
        for row in rows {
            let sealed = Sealed { key_id: row.key_id, nonce: row.nonce, sealed: row.sealed };
            let secret = sealed.open(&self.sealing_keys, company_id, kind)?;
            // A release that knew of no fingerprints wrote it.
            if let (None, Some(missing)) = (row.fingerprint, fingerprint(kind, &secret)) {
                self.name_secret(company_id, kind, row.secret_id, missing).await?;
            }
            secrets.push(secret);
        }
        Ok(secrets)
    }

    async fn name_secret(
        &self,
        company_id: i32,
        kind: SecretKind,
        secret_id: i64,
        fingerprint: Fingerprint,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE company_secret SET fingerprint = $4 WHERE company_id = $1 AND kind = $2 AND secret_id = $3",
            company_id,
            kind.as_str(),
            secret_id,
            fingerprint.bytes()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Only a key of Cal.com has a bucket to be found by.
fn fingerprint(kind: SecretKind, secret: &SecretString) -> Option<Fingerprint> {
    match kind {
        SecretKind::Calcom => Some(Fingerprint::of(secret)),
        SecretKind::Retell | SecretKind::CalcomWebhook => None,
    }
}
