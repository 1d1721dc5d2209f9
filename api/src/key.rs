//! Who asks: the API key in `Authorization: Bearer ak_…`, and whether its scopes allow the route.
//!
//! A route names what it needs by its extractor, so a route without a check does not see a company. Deliberately
//! absent: roles, users, cookies. `admin` may do everything; `book` does not include `read`.

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, header, request::Parts};
use store::{Principal, Scope};

use crate::app::App;
use crate::problem::Problem;

/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 256;

/// The company of a key that may read.
pub(crate) struct MayRead(pub(crate) i32);

/// The company of a key that may book and cancel.
pub(crate) struct MayBook(pub(crate) i32);

/// As [`MayBook`], and by which key: holds are counted by it.
pub(crate) struct MayHold {
    pub(crate) company_id: i32,
    /// The public part of the key.
    pub(crate) key_id: String,
}

impl FromRequestParts<App> for MayRead {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let who = authenticate(&parts.headers, app).await?;
        if who.scopes.iter().any(|scope| matches!(scope, Scope::Read | Scope::Admin)) {
            return Ok(Self(who.company_id));
        }
        Err(refuse(&who, "read"))
    }
}

impl FromRequestParts<App> for MayBook {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        MayHold::from_request_parts(parts, app).await.map(|who| Self(who.company_id))
    }
}

impl FromRequestParts<App> for MayHold {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let who = authenticate(&parts.headers, app).await?;
        if who.scopes.iter().any(|scope| matches!(scope, Scope::Book | Scope::Admin)) {
            return Ok(Self { company_id: who.company_id, key_id: who.key_id });
        }
        Err(refuse(&who, "book"))
    }
}

async fn authenticate(headers: &HeaderMap, app: &App) -> Result<Principal, Problem> {
    let token = token(headers).ok_or_else(Problem::no_key)?;
    match app.store.authenticate(token).await? {
        Some(who) => Ok(who),
        None => {
            tracing::info!("an API key was refused");
            Err(Problem::no_key())
        }
    }
}

fn refuse(who: &Principal, scope: &'static str) -> Problem {
    tracing::info!(company_id = who.company_id, key_id = who.key_id, scope, "the scope of an API key does not suffice");
    Problem::no_scope(scope)
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_token() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            token(&headers).map(str::to_owned)
        };
        assert_eq!(with(&["Bearer ak_live_1_2"]).as_deref(), Some("ak_live_1_2"));
        assert_eq!(with(&["bearer  ak_live_1_2"]).as_deref(), Some("ak_live_1_2"));
        for bad in [&["Basic ak"][..], &["ak_live_1_2"], &["Bearer "], &[], &["Bearer a", "Bearer b"]] {
            assert_eq!(with(bad), None, "{bad:?}");
        }
        assert_eq!(with(&[&format!("Bearer {}", "x".repeat(257))]), None);
    }
}
