//! Cal.com is away for a while: nobody can reach it, or it takes requests and never answers. Whoever calls meanwhile has
//! his time kept and hears "noted"; hardly anything is sent; and when Cal.com is back, the promises are brought to it in
//! the order in which they were made.
//!
//! The outage lasts a minute and stands for ten (`OUTAGE_SECONDS=600` has them); Δ is 4 s and Cal.com's timeout 2 s. The budget
//! is raised: 300 bookings in a backlog would take three minutes of a real one.

use crate::appointment;
use harness::{Api, Host, Line, Setup, World};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

const STAFF: i32 = 25;
const WORKERS: usize = 2;
/// Scheduled before it.
const BEFORE: u32 = 20;
/// Booked during it.
const BOOKINGS: u32 = 300;
/// Of one worker.
const SLOTS: usize = 16;
/// A promise may be overtaken by so many younger ones: those that are let go at once, and those in flight.
const OVERTAKEN_MAX: usize = 32 + WORKERS * SLOTS;

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_reaches_cal_com_bookings_are_noted_and_then_brought_to_it_in_order() {
    outage(Host::Refuses).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_cal_com_hangs_bookings_are_noted_and_then_brought_to_it_in_order() {
    outage(Host::Hangs).await;
}

async fn outage(host: Host) {
    let lasts = Duration::from_secs(std::env::var("OUTAGE_SECONDS").map_or(60, |seconds| seconds.parse().unwrap()));
    let world = World::of(Setup { staff: STAFF, ..Setup::default() }).await;
    let line = Line::start(&world.sandbox.url).await;
    let api = world.api_with(&[("ASKPRO_VOICE_WAIT_MS", "500".to_owned())]).await;
    let set = [
        ("ASKPRO_CALCOM_URL", line.url.clone()),
        ("ASKPRO_SLOTS", SLOTS.to_string()),
        ("ASKPRO_CALCOM_TIMEOUT_MS", "2000".to_owned()),
        ("ASKPRO_LEASE_MS", "6000".to_owned()),
        ("ASKPRO_RENEWAL_MS", "1500".to_owned()),
        ("ASKPRO_QUARANTINE_MS", "4000".to_owned()),
    ];
    let workers = [(); WORKERS].map(|()| world.worker_with(&set));
    book(&world, &api, 0..BEFORE).await;
    world.rests().await;

    let fell = Instant::now();
    line.set(host);
    says_noted(&world, &api).await;
    let promised = book(&world, &api, BEFORE..BEFORE + BOOKINGS).await;
    tokio::time::sleep(lasts.saturating_sub(fell.elapsed())).await;
    assert_eq!(world.live().len(), BEFORE as usize, "Cal.com has heard of none of them");
    let swallowed = line.swallowed();
    let intents = world.count("SELECT count(*) FROM calcom_op").await - i64::from(BEFORE);
    let looks: i64 = world.count("SELECT COALESCE(sum(looks), 0)::bigint FROM calcom_op").await;

    let back = Instant::now();
    line.set(Host::Answers);
    world.rests().await;
    let drained = back.elapsed().as_secs_f64();
    let parked = world.count("SELECT count(*) FROM job WHERE state = 'parked'").await;
    let (overtaken, unknown) = overtaken(&world, &promised).await;
    eprintln!(
        "{host:?} for {:.0} s: {BOOKINGS} noted, {intents} intents, {looks} looks and {swallowed} requests meanwhile, \
         {unknown} of unknown outcome; drained {drained:.1} s after it was back; {parked} parked; nobody overtaken by \
         more than {overtaken}",
        lasts.as_secs_f64(),
    );
    assert_eq!(parked, 0);
    assert_eq!(world.count("SELECT count(*) FROM callback_request").await, 0, "nobody has to be rung");
    assert_eq!(world.live().len(), (BEFORE + BOOKINGS + 1) as usize, "none lost, none doubled");
    assert!(overtaken <= OVERTAKEN_MAX, "one was overtaken by {overtaken}");
    // A probe after 1, 2, 4, 8 and then every 15 s. Before that: all that is in flight when it falls.
    let probes = 8 + lasts.as_secs() as i64 / 15;
    let before_it_is_known = (WORKERS * SLOTS) as i64;
    assert!(intents + looks <= probes + before_it_is_known, "{intents} intents and {looks} looks are more than probes");
    world.at_rest().await;
    drop(workers);
}

/// One after another, each answered at once.
async fn book(world: &World, api: &Api, wishes: std::ops::Range<u32>) -> Vec<Uuid> {
    let mut promised = Vec::new();
    for n in wishes {
        let answer = api.post("/v1/appointments", &[], &world.written(n).await).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        promised.push(appointment(&answer.body));
    }
    promised
}

/// What the voice agent says to a caller.
async fn says_noted(world: &World, api: &Api) {
    let wish = world.wish(BEFORE + BOOKINGS).await;
    let args =
        json!({"customer_name": "Eva Sommer", "datetime": wish.starts_at.to_rfc3339(), "mitarbeiter": wish.staff_id});
    let noted = api.call("book_appointment", "call_outage", "+4915112999999", args).await.body;
    assert_eq!((&noted["success"], &noted["status"]), (&json!(true), &json!("requested")), "{noted}");
    let sentence = noted["message"].as_str().unwrap();
    assert!(sentence.contains("notiert") && !sentence.contains("gebucht"), "{sentence}");
}

/// By how many younger promises any one was overtaken at Cal.com; and how many had to be looked for, which takes Δ and
/// is not counted.
async fn overtaken(world: &World, promised: &[Uuid]) -> (usize, usize) {
    let sql = "SELECT o.appointment_id, o.uid, (SELECT max(l.looks) FROM calcom_op l
                 WHERE l.appointment_id = o.appointment_id) FROM calcom_op o WHERE o.state = 'applied'";
    let rows: Vec<(Uuid, Option<String>, i16)> = sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap();
    let place_of: BTreeMap<Uuid, usize> = promised.iter().copied().zip(0..).collect();
    let by_uid: BTreeMap<&str, (Uuid, i16)> =
        rows.iter().filter_map(|(id, uid, looks)| Some((uid.as_deref()?, (*id, *looks)))).collect();
    let ledger = world.sandbox.ledger();
    let made = ledger.iter().filter(|entry| entry.effect.is_some()).filter_map(|entry| entry.uid.as_deref());
    let made = made.filter_map(|uid| by_uid.get(uid)).filter(|(_, looks)| *looks == 0);
    let order: Vec<usize> = made.filter_map(|(id, _)| place_of.get(id).copied()).collect();
    let by_younger = |at: usize| order[..at].iter().filter(|place| **place > order[at]).count();
    let unknown = rows.iter().filter(|(id, _, looks)| *looks > 0 && place_of.contains_key(id)).count();
    assert_eq!(order.len() + unknown, promised.len(), "each has its effect");
    ((0..order.len()).map(by_younger).max().unwrap_or_default(), unknown)
}
