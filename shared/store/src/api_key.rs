//! Keys of the HTTP API: shown once, stored as a hash, compared in constant time.

use crate::Store;
use crate::error::StoreError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a key allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// Look.
    Read,
    /// Book and cancel.
    Book,
    /// Jobs and queues of this company.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Read, Self::Book, Self::Admin];

    /// Its word in SQL and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Book => "book",
            Self::Admin => "admin",
        }
    }

    /// Reads its word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

/// Whose key it was, and what it allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// The company it acts for.
    pub company_id: i32,
    /// The public part of the key, for logs.
    pub key_id: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

impl Store {
    /// Makes a key. The token, `ak_live_<8 characters>_<secret>`, is never seen again.
    ///
    /// # Errors
    /// Postgres is away; no such company; no scope.
    pub async fn create_api_key(&self, company_id: i32, scopes: &[Scope]) -> Result<SecretString, StoreError> {
        let key_id = hex::encode(rand::random::<[u8; 4]>());
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let token = SecretString::from(format!("ak_live_{key_id}_{secret}"));
        let words: Vec<String> = scopes.iter().map(|s| s.as_str().to_owned()).collect();
        sqlx::query!(
            "INSERT INTO api_key (company_id, key_id, secret_hash, scopes) VALUES ($1, $2, $3, $4)",
            company_id,
            key_id,
            &hash(token.expose_secret())[..],
            &words
        )
        .execute(&self.pool)
        .await?;
        Ok(token)
    }

    /// Whose key is it? `None` for every token that is not a valid key, whatever is wrong with it.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Principal>, StoreError> {
        let Some((key_id, _)) = token.strip_prefix("ak_live_").and_then(|rest| rest.split_once('_')) else {
            return Ok(None);
        };
        if key_id.len() != 8 || token.len() > 200 || token.contains('\0') {
            return Ok(None);
        }
        // The id is random, not unique across companies: the hash decides.
        let rows = sqlx::query!(
            "SELECT company_id, secret_hash, scopes FROM api_key WHERE key_id = $1 AND revoked_at IS NULL LIMIT 8",
            key_id
        )
        .fetch_all(&self.pool)
        .await?;
        let given = hash(token);
        let found = rows.into_iter().find(|row| bool::from(row.secret_hash.ct_eq(&given[..])));
        Ok(found.map(|row| Principal {
            company_id: row.company_id,
            key_id: key_id.to_owned(),
            scopes: row.scopes.iter().filter_map(|s| Scope::parse(s)).collect(),
        }))
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
