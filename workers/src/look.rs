//! One look at Cal.com: what became of an op whose outcome is not known. Reads only.
//!
//! Deliberately absent: what follows from it (`domain::resolve`), and a second look: the job comes again.

use std::time::Duration;

use calcom::ListQuery;
use chrono::{DateTime, TimeDelta, Utc};
use domain::answer::{Booking, BookingUid, LookFailure};
use domain::effect::EffectKind;
use domain::outcome::Outcome;
use domain::resolve::{Asked, Chain, Sight, resolve};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::held::Held;
use crate::world::World;

/// A create's look lists what begins this much before the start that was asked for …
const BEFORE_START: TimeDelta = TimeDelta::minutes(1);
/// … and ends this much after it. Cal.com filters by the end, and the longest service lasts a day.
const AFTER_START: TimeDelta = TimeDelta::minutes(24 * 60 + 1);
/// A booking that was moved more often than this is looked at by a person.
const MOVES_MAX: usize = 10;
const MOVED_TOO_OFTEN: &str = "moved_too_often";

/// Looks once, for what `asked` says. `None`: the job was lost meanwhile.
pub(crate) async fn look(
    world: &World,
    held: &Held,
    key: &SecretString,
    asked: &Asked,
    lost: &CancellationToken,
) -> Option<Outcome> {
    let began = began(held.claimed.claimed_at, held.answered_at.elapsed());
    let seen = tokio::select! {
        biased;
        () = lost.cancelled() => return None,
        seen = see(world, held, key, asked) => seen,
    };
    Some(match seen {
        Ok(Seen::Sight(sight)) => resolve(asked, sight, began, world.quarantine),
        Ok(Seen::Strange { why }) => Outcome::Review { why },
        Err(failure) => not_seen(&failure),
    })
}

/// What a look brings.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Sight(Sight),
    /// Nothing that the op could have done: for a person.
    Strange {
        why: &'static str,
    },
}

async fn see(world: &World, held: &Held, key: &SecretString, asked: &Asked) -> Result<Seen, LookFailure> {
    let (claimed, company) = (&held.claimed, held.claimed.job.company_id);
    match (asked.kind, claimed.event_type_id, asked.starts_at, &claimed.effect.target) {
        (EffectKind::Create, Some(event_type_id), Some(start), _) => {
            let query = ListQuery::Window { event_type_id, from: start - BEFORE_START, to: start + AFTER_START };
            let listed = world.calcom.list(key, &query, &world.markers, company).await?;
            let mut chains = Vec::new();
            // Others' bookings around that time are nobody's business here.
            for booking in listed.into_iter().filter(|b| b.marker == Some(asked.lineage.0)) {
                match follow(world, key, company, booking).await? {
                    Some(chain) => chains.push(chain),
                    None => return Ok(Seen::Strange { why: MOVED_TOO_OFTEN }),
                }
            }
            Ok(Seen::Sight(Sight::Listed(chains)))
        }
        (EffectKind::Cancel | EffectKind::Reschedule, _, _, Some(target)) => {
            Ok(match trail(world, key, company, target).await? {
                Trail::Followed(chain) => Seen::Sight(Sight::Target(Some(chain))),
                Trail::Nowhere => Seen::Sight(Sight::Target(None)),
                Trail::Endless => Seen::Strange { why: MOVED_TOO_OFTEN },
            })
        }
        (EffectKind::Create | EffectKind::Cancel | EffectKind::Reschedule, ..) => {
            tracing::error!("an op does not say what it asked");
            Ok(Seen::Strange { why: "op_incomplete" })
        }
    }
}

/// What is found under a uid.
pub(crate) enum Trail {
    /// A booking, with whatever it was moved to.
    Followed(Chain),
    /// Cal.com knows no such booking.
    Nowhere,
    /// It was moved too often for us to follow.
    Endless,
}

/// Reads a booking and whatever it was moved to.
pub(crate) async fn trail(
    world: &World,
    key: &SecretString,
    company: i32,
    uid: &BookingUid,
) -> Result<Trail, LookFailure> {
    let Some(booking) = world.calcom.get(key, uid, &world.markers, company).await? else { return Ok(Trail::Nowhere) };
    Ok(follow(world, key, company, booking).await?.map_or(Trail::Endless, Trail::Followed))
}

async fn follow(world: &World, key: &SecretString, company: i32, first: Booking) -> Result<Option<Chain>, LookFailure> {
    let get = |uid: BookingUid| async move { world.calcom.get(key, &uid, &world.markers, company).await };
    chain_from(first, get).await
}

/// Reads what a booking was moved to, and so on. `None`: it does not end.
async fn chain_from<F, Fut>(first: Booking, get: F) -> Result<Option<Chain>, LookFailure>
where
    F: Fn(BookingUid) -> Fut,
    Fut: Future<Output = Result<Option<Booking>, LookFailure>>,
{
    let mut chain = Chain::of(first);
    while let Some(next) = chain.end().rescheduled_to.clone() {
        if chain.moves.len() == MOVES_MAX {
            return Ok(None);
        }
        // A replica may not have it yet: then this look has seen nothing.
        let next = get(next).await?.ok_or(LookFailure::Other)?;
        chain.moves.push(next);
    }
    Ok(Some(chain))
}

/// A time that is certainly not later than the database's clock now: its clock inside the claim, and what has gone by
/// since the claim's answer was here.
fn began(claimed_at: DateTime<Utc>, since_answer: Duration) -> DateTime<Utc> {
    let gone_by = TimeDelta::from_std(since_answer).unwrap_or_default();
    claimed_at.checked_add_signed(gone_by).unwrap_or(claimed_at)
}

fn not_seen(failure: &LookFailure) -> Outcome {
    let wait = match failure {
        LookFailure::Throttled { wait } => Some(*wait),
        LookFailure::NotSent { wait } | LookFailure::NoAnswer { wait } => *wait,
        LookFailure::Unauthorized | LookFailure::Other => None,
    };
    tracing::warn!(?failure, "a look failed");
    Outcome::NotSeen { wait }
}

#[cfg(test)]
mod tests {
    use domain::answer::BookingStatus;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn booking(uid: &str, status: BookingStatus, start: i64, moved_to: Option<&str>) -> Booking {
        Booking {
            uid: BookingUid::from(uid.to_owned()),
            status,
            start: at(start),
            end: at(start + 1_800),
            event_type_id: 7,
            host_id: None,
            created_at: at(1),
            updated_at: None,
            marker: None,
            rescheduled_to: moved_to.map(|to| BookingUid::from(to.to_owned())),
            rescheduled_from: None,
        }
    }

    #[test]
    fn a_look_began_no_later_than_the_database_would_say() {
        // The claim read the clock at 100 s. Its answer took 4 s on its way, which nobody counts.
        assert_eq!(began(at(100), Duration::ZERO), at(100));
        assert_eq!(began(at(100), Duration::from_millis(1_500)), at(100) + TimeDelta::milliseconds(1_500));
        assert_eq!(began(at(100), Duration::MAX), at(100));
        assert_eq!(began(DateTime::<Utc>::MAX_UTC, Duration::from_secs(1)), DateTime::<Utc>::MAX_UTC);
    }

    #[tokio::test]
    async fn moves_are_followed_to_their_end() {
        let known = |uid: BookingUid| async move {
            Ok(match uid.expose() {
                "a" => Some(booking("a", BookingStatus::Cancelled, 1_000, Some("b"))),
                "b" => Some(booking("b", BookingStatus::Cancelled, 2_000, Some("c"))),
                "c" => Some(booking("c", BookingStatus::Accepted, 5_000, None)),
                "late" => Some(booking("late", BookingStatus::Cancelled, 1_000, Some("not yet"))),
                "ring" => Some(booking("ring", BookingStatus::Accepted, 5_000, Some("ring"))),
                _ => None,
            })
        };
        let from = |uid: &'static str| async move {
            let first = known(BookingUid::from(uid.to_owned())).await?;
            chain_from(first.ok_or(LookFailure::Other)?, known).await
        };
        let found = from("a").await.unwrap().unwrap();
        assert_eq!((found.first.uid.expose(), found.end().uid.expose(), found.moves.len()), ("a", "c", 2));
        assert_eq!(from("c").await.unwrap().unwrap().moves, vec![]);
        assert_eq!(from("late").await, Err(LookFailure::Other));
        assert_eq!(from("ring").await, Ok(None), "no endless loop");
    }

    #[test]
    fn a_look_that_may_not_go_says_when_it_may() {
        let wait = Duration::from_secs(60);
        let told = Some(wait);
        for failure in
            [LookFailure::Throttled { wait }, LookFailure::NotSent { wait: told }, LookFailure::NoAnswer { wait: told }]
        {
            assert_eq!(not_seen(&failure), Outcome::NotSeen { wait: told });
        }
        for failure in [LookFailure::NotSent { wait: None }, LookFailure::Unauthorized, LookFailure::Other] {
            assert_eq!(not_seen(&failure), Outcome::NotSeen { wait: None });
        }
    }
}
