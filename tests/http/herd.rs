//! A hundred callers want one time in one instant, half of them on the telephone, half by `POST /v1/appointments`: one
//! gets it, each other one hears why not and what is free, and what is offered can be had.
//!
//! `HERD_ROUNDS` sets the rounds. Deliberately absent: figures of latency, and cancellations in between.

use crate::{PATIENT_VOICE, Wish, id_of, problem, said};
use chrono::{DateTime, Utc};
use domain::id::AppointmentId;
use harness::{Answer, Api, Setup, World, wait_until};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// Rounds, unless `HERD_ROUNDS` says otherwise.
const ROUNDS: u32 = 50;
const CALLERS: u32 = 100;
/// In one round of so many, some callers are one person, half of them by each door.
const TWINS_EVERY: u32 = 10;
const TWINS: u32 = 4;
/// All want the first, who is offered first, too: half an hour later, and the next round wants the hour after.
const STAFF: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Door {
    Http,
    Voice,
}

struct Caller {
    door: Door,
    call_id: String,
    wish: Wish,
}

/// What a caller was told.
enum Heard {
    Won(AppointmentId),
    AlreadyYours(AppointmentId),
    Refused { name: String, alternatives: Vec<Value> },
}

impl Caller {
    async fn asks(&self, api: &Api) -> Answer {
        match self.door {
            Door::Http => api.post("/v1/appointments", &[], &self.wish.written()).await,
            Door::Voice => api.call("book_appointment", &self.call_id, &self.wish.phone, self.wish.spoken()).await,
        }
    }

    async fn hears(&self, world: &World, answer: Answer) -> Heard {
        let refused = |name: &str, body: &Value| Heard::Refused {
            name: name.to_owned(),
            alternatives: body["alternatives"].as_array().cloned().unwrap_or_default(),
        };
        match (self.door, answer.status) {
            (Door::Http, status @ (200 | 202)) => {
                let appointment = &answer.body["appointment"];
                assert!(["requested", "scheduled"].contains(&appointment["status"].as_str().unwrap()), "{appointment}");
                let id = id_of(&appointment["id"]);
                if status == 200 { Heard::AlreadyYours(id) } else { Heard::Won(id) }
            }
            (Door::Http, _) | (Door::Voice, 300..) => refused(problem(&answer.body), &answer.body),
            (Door::Voice, _) => {
                let reply = said(world, answer).await;
                if reply["success"] == json!(false) {
                    return refused(reply["status"].as_str().unwrap(), &reply);
                }
                assert_eq!(reply["booked"], true, "{reply}");
                let id = id_of(&reply["appointment_id"]);
                let already = reply["message"].as_str().unwrap().starts_with("Dieser Termin war schon gebucht");
                if already { Heard::AlreadyYours(id) } else { Heard::Won(id) }
            }
        }
    }

    /// Takes what it was offered, by its own door, and says which appointment that is.
    async fn takes(&self, world: &World, api: &Api, offer: &Value) -> AppointmentId {
        let wish = self.wish.clone();
        let (answer, starts_at) = match self.door {
            Door::Http => {
                let starts_at: DateTime<Utc> = offer["starts_at"].as_str().unwrap().parse().unwrap();
                let staff_id = i32::try_from(offer["staff_id"].as_i64().unwrap()).unwrap();
                let body = Wish { starts_at, staff_id, ..wish }.written();
                (api.post("/v1/appointments", &[], &body).await, starts_at)
            }
            Door::Voice => {
                let (day, time) = (offer["date"].as_str().unwrap(), offer["time"].as_str().unwrap());
                let args = json!({"customer_name": wish.name, "datum": day, "uhrzeit": time, "staff": offer["staff"]});
                let local = chrono::NaiveDateTime::parse_from_str(&format!("{day} {time}"), "%d.%m.%Y %H:%M").unwrap();
                let answer = api.call("book_appointment", &self.call_id, &wish.phone, args).await;
                (answer, local.and_utc())
            }
        };
        let Heard::Won(id) = self.hears(world, answer).await else {
            panic!("{offer} was offered and is not to be had")
        };
        let kept = api.get(&format!("/v1/appointments/{id}")).await.body;
        assert_eq!(kept["starts_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(), starts_at, "as offered");
        id
    }
}

/// All ask in one instant.
async fn ask_at_once(api: &Arc<Api>, callers: Vec<Caller>) -> Vec<(Caller, Answer)> {
    let barrier = Arc::new(Barrier::new(callers.len()));
    let mut asking = JoinSet::new();
    for caller in callers {
        let (api, barrier) = (Arc::clone(api), Arc::clone(&barrier));
        asking.spawn(async move {
            barrier.wait().await;
            let answer = caller.asks(&api).await;
            (caller, answer)
        });
    }
    asking.join_all().await
}

#[derive(Default, Debug)]
struct Tally {
    statuses: BTreeMap<u16, u32>,
    refusals: BTreeMap<String, u32>,
    won: [u32; 2],
    already_yours: [u32; 2],
    alternatives_booked: [u32; 2],
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_callers_one_gets_the_time_and_all_others_hear_what_is_free() {
    let rounds = std::env::var("HERD_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    let world = World::of(Setup { staff: i32::try_from(STAFF).unwrap(), ..Setup::default() }).await;
    let database = ("ASKPRO_DATABASE_URL", format!("{}?application_name=herd", world.database_url()));
    let api = world.api_with(&[database.clone(), (PATIENT_VOICE.0, PATIENT_VOICE.1.to_owned())]).await;
    let api = Arc::new(api);
    let workers = [world.worker_with(std::slice::from_ref(&database)), world.worker_with(&[database])];
    let mut tally = Tally::default();
    let began = std::time::Instant::now();
    for n in 0..rounds {
        round(&world, &api, n, &mut tally).await;
    }
    let took = began.elapsed();
    world.rests().await;

    // The count of deadlocks is complete once those who may have had them are gone.
    drop((api, workers));
    wait_until("the end of our connections", async || {
        world.count("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'herd'").await == 0
    })
    .await;
    let deadlocks = deadlocks(&world).await;
    let failed: u32 = tally.statuses.iter().filter(|(status, _)| **status >= 500).map(|(_, count)| count).sum();
    eprintln!("{rounds} rounds of {CALLERS} callers in {took:.1?}; {tally:?}; 5xx: {failed}; deadlocks: {deadlocks}");

    let twin_rounds = rounds / TWINS_EVERY;
    let already_yours = twin_rounds * (TWINS - 1);
    assert_eq!((failed, deadlocks), (0, 0), "answers of 500 and above, deadlocks");
    assert_eq!(tally.won.iter().sum::<u32>(), rounds, "successes");
    assert_eq!(tally.already_yours.iter().sum::<u32>(), already_yours, "already yours");
    assert!(tally.already_yours.iter().all(|by_door| *by_door >= twin_rounds), "already yours, by each door");
    assert_eq!(tally.refusals.values().sum::<u32>(), rounds * (CALLERS - 1) - already_yours, "refusals");
    assert_eq!(tally.alternatives_booked.iter().sum::<u32>(), rounds, "alternatives booked");
    let live = world.live();
    assert_eq!(live.len(), usize::try_from(2 * rounds).unwrap(), "the herds' times and the alternatives");
    for n in 0..rounds {
        let wish = Wish::nth(&world, 2 * n * STAFF).await;
        let of_slot = live.iter().filter(|b| b.start == wish.starts_at && b.host.id == i64::from(wish.staff_id));
        assert_eq!(of_slot.count(), 1, "live bookings of the slot of round {n}");
    }
    world.at_rest().await;
}

/// One time, a hundred callers. Twins come first, all at once, because else somebody else might have it.
async fn round(world: &World, api: &Arc<Api>, n: u32, tally: &mut Tally) {
    let wish = Wish::nth(world, 2 * n * STAFF).await;
    let twins = if (n + 1).is_multiple_of(TWINS_EVERY) { TWINS } else { 0 };
    let caller = |i: u32| {
        let person = n * 1_000 + if i < twins { 0 } else { i };
        Caller {
            door: if i.is_multiple_of(2) { Door::Http } else { Door::Voice },
            call_id: format!("call_{n}_{i}"),
            wish: Wish { name: format!("Lena Vogt {person}"), phone: format!("+4915112{person:06}"), ..wish.clone() },
        }
    };
    let mut answers = Vec::new();
    for herd in [0..twins, twins..CALLERS] {
        if !herd.is_empty() {
            answers.extend(ask_at_once(api, herd.map(caller).collect()).await);
        }
    }

    let (mut ids, mut losers) = (Vec::new(), Vec::new());
    for (caller, answer) in answers {
        *tally.statuses.entry(answer.status).or_default() += 1;
        let door = caller.door as usize;
        match caller.hears(world, answer).await {
            Heard::Won(id) => {
                tally.won[door] += 1;
                ids.push(id);
            }
            Heard::AlreadyYours(id) => {
                tally.already_yours[door] += 1;
                ids.push(id);
            }
            Heard::Refused { name, alternatives } => {
                losers.push((caller, name.clone(), alternatives));
                *tally.refusals.entry(name).or_default() += 1;
            }
        }
    }
    let (of_all, one) = (tally.won.iter().sum::<u32>(), ids.first().copied());
    assert_eq!(of_all, n + 1, "one success a round; round {n}: {tally:?}");
    assert!(ids.iter().all(|id| Some(*id) == one), "one appointment; round {n}");
    for (caller, name, alternatives) in &losers {
        let taken = if caller.door == Door::Http { "taken" } else { "slot_taken" };
        assert_eq!((name.as_str(), alternatives.len()), (taken, 3), "round {n}: {tally:?}");
    }

    let door = if n.is_multiple_of(2) { Door::Http } else { Door::Voice };
    let (loser, _, alternatives) = losers.iter().find(|(caller, ..)| caller.door == door).unwrap();
    let instead = loser.takes(world, api, &alternatives[0]).await;
    assert_ne!(Some(instead), one);
    tally.alternatives_booked[door as usize] += 1;
}

async fn deadlocks(world: &World) -> i64 {
    world.count("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").await
}

/// A counter that never rises would prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_made_on_purpose_is_counted() {
    let world = World::of(Setup { staff: 2, ..Setup::default() }).await;
    let mut one = PgConnection::connect(&world.database_url()).await.unwrap();
    let mut other = PgConnection::connect(&world.database_url()).await.unwrap();
    for (conn, first) in [(&mut one, 1), (&mut other, 2)] {
        sqlx::query("BEGIN").execute(&mut *conn).await.unwrap();
        lock_staff(conn, first).await.unwrap();
    }
    assert_eq!(deadlocks(&world).await, 0);
    let crossed = tokio::join!(lock_staff(&mut one, 2), lock_staff(&mut other, 1));
    let undone: Vec<_> = [crossed.0, crossed.1].into_iter().filter_map(Result::err).collect();
    assert_eq!(undone.len(), 1, "{undone:?}");
    assert_eq!(undone[0].as_database_error().unwrap().code().unwrap(), "40P01", "deadlock_detected");
    one.close().await.unwrap();
    other.close().await.unwrap();
    wait_until("the count of the deadlock", async || deadlocks(&world).await == 1).await;
    world.gone().await;
}

async fn lock_staff(conn: &mut PgConnection, staff_id: i32) -> sqlx::Result<()> {
    let lock = "SELECT FROM staff WHERE staff_id = $1 FOR NO KEY UPDATE";
    sqlx::query(lock).bind(staff_id).execute(conn).await.map(drop)
}
