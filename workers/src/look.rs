//! One look at Cal.com: what became of an op whose outcome is not known. Reads only.
//!
//! Deliberately absent: what follows from it (`domain::resolve`), and a second look: the job comes again.

use std::time::Duration;

use calcom::ListQuery;
use chrono::{DateTime, TimeDelta, Utc};
use domain::answer::{Booking, BookingStatus, BookingUid, LookFailure};
use domain::effect::EffectKind;
use domain::outcome::Outcome;
use domain::resolve::{Asked, Sight, resolve};
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
    match (asked.kind, claimed.event_type_id, asked.starts_at, &claimed.target) {
        (EffectKind::Create, Some(event_type_id), Some(start), _) => {
            let query = ListQuery { event_type_id, from: start - BEFORE_START, to: start + AFTER_START };
            let listed = world.calcom.list(key, &query, &world.markers, company).await?;
            Ok(Seen::Sight(Sight::Listed(listed)))
        }
        (EffectKind::Cancel | EffectKind::Reschedule, _, _, Some(target)) => {
            let get = |uid: BookingUid| async move { world.calcom.get(key, &uid, &world.markers, company).await };
            let (found, moves) = follow(target.clone(), get).await?;
            Ok(at_the_target(asked, found, moves))
        }
        (EffectKind::Create | EffectKind::Cancel | EffectKind::Reschedule, ..) => {
            tracing::error!("an op does not say what it asked");
            Ok(Seen::Strange { why: "op_incomplete" })
        }
    }
}

/// Reads a booking, and the one that it was moved to, and so on. The last one, and how often it was moved.
async fn follow<F, Fut>(target: BookingUid, get: F) -> Result<(Option<Booking>, usize), LookFailure>
where
    F: Fn(BookingUid) -> Fut,
    Fut: Future<Output = Result<Option<Booking>, LookFailure>>,
{
    let Some(mut booking) = get(target).await? else { return Ok((None, 0)) };
    let mut moves = 0;
    while let Some(next) = booking.rescheduled_to.clone() {
        // A replica may not have it yet: then this look has seen nothing.
        booking = get(next).await?.ok_or(LookFailure::Other)?;
        moves += 1;
        if moves > MOVES_MAX {
            break;
        }
    }
    Ok((Some(booking), moves))
}

/// What was moved and lives is what a reschedule asked for, or what the business has made of it: settle compares the
/// times. A cancel never moves anything: the business did, and what the business does is not undone silently.
fn at_the_target(asked: &Asked, found: Option<Booking>, moves: usize) -> Seen {
    let Some(booking) = found else { return Seen::Sight(Sight::Target(None)) };
    let live = matches!(booking.status, BookingStatus::Accepted | BookingStatus::Pending);
    if moves == 0 || !live {
        return Seen::Sight(Sight::Target(Some(booking)));
    }
    match asked.kind {
        EffectKind::Create | EffectKind::Reschedule if moves <= MOVES_MAX => Seen::Sight(Sight::Moved(booking)),
        EffectKind::Create | EffectKind::Reschedule | EffectKind::Cancel => Seen::Strange { why: "moved_elsewhere" },
    }
}

/// A time that is certainly not later than the database's clock now: its clock inside the claim, and what has gone by
/// since the claim's answer was here.
fn began(claimed_at: DateTime<Utc>, since_answer: Duration) -> DateTime<Utc> {
    let gone_by = TimeDelta::from_std(since_answer).unwrap_or_default();
    claimed_at.checked_add_signed(gone_by).unwrap_or(claimed_at)
}

fn not_seen(failure: &LookFailure) -> Outcome {
    let pause = match failure {
        LookFailure::Throttled { wait } => Some(*wait),
        LookFailure::NotSent | LookFailure::Unauthorized | LookFailure::Other => None,
    };
    tracing::warn!(?failure, "a look failed");
    Outcome::NotSeen { pause }
}

#[cfg(test)]
mod tests {
    use domain::id::Lineage;
    use domain::outcome::Past;
    use uuid::Uuid;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn asked(kind: EffectKind) -> Asked {
        Asked {
            kind,
            lineage: Lineage(Uuid::from_u128(1)),
            starts_at: (kind != EffectKind::Cancel).then(|| at(5_000)),
            sent_at: at(0),
            answered: None,
            past: Past::Ambiguous,
            accounted: vec![],
        }
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
        let from = |uid: &str| follow(BookingUid::from(uid.to_owned()), known);
        let (found, moves) = from("a").await.unwrap();
        assert_eq!((found.unwrap().uid.expose(), moves), ("c", 2));
        assert_eq!(from("none").await, Ok((None, 0)));
        assert_eq!(from("late").await, Err(LookFailure::Other));
        let (found, moves) = from("ring").await.unwrap();
        let strange = Seen::Strange { why: "moved_elsewhere" };
        assert_eq!(at_the_target(&asked(EffectKind::Reschedule), found, moves), strange, "no endless loop");
    }

    #[test]
    fn a_move_is_what_a_reschedule_looks_for_and_not_a_cancel() {
        let there = |start| Some(booking("b", BookingStatus::Accepted, start, None));
        let reschedule = asked(EffectKind::Reschedule);
        assert!(matches!(at_the_target(&reschedule, there(5_000), 1), Seen::Sight(Sight::Moved(_))));
        assert!(matches!(at_the_target(&reschedule, there(6_000), 0), Seen::Sight(Sight::Target(Some(_)))));
        let cancel = asked(EffectKind::Cancel);
        assert_eq!(at_the_target(&cancel, there(5_000), 1), Seen::Strange { why: "moved_elsewhere" });
        let ended = Some(booking("b", BookingStatus::Cancelled, 5_000, None));
        assert!(matches!(at_the_target(&cancel, ended, 1), Seen::Sight(Sight::Target(Some(_)))));
        assert_eq!(at_the_target(&cancel, None, 0), Seen::Sight(Sight::Target(None)));
    }

    #[test]
    fn only_a_throttled_look_asks_for_a_pause() {
        let wait = Duration::from_secs(60);
        assert_eq!(not_seen(&LookFailure::Throttled { wait }), Outcome::NotSeen { pause: Some(wait) });
        for failure in [LookFailure::NotSent, LookFailure::Unauthorized, LookFailure::Other] {
            assert_eq!(not_seen(&failure), Outcome::NotSeen { pause: None });
        }
    }
}
