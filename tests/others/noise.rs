//! Webhooks ten times over, in any order, late, before our own reply, and one in five never; and forged ones. In the end the
//! record has what Cal.com has.

use crate::by_sweep;
use domain::id::AppointmentId;
use futures::{StreamExt, stream};
use harness::{Setup, WEBHOOK_SECRET, World, made_up_webhook, wait_for, wait_until, webhook_signature};
use sandbox::{Mode, Outcome, WebhookPlan};
use std::collections::BTreeSet;
use std::time::Duration;

const STAFF: u32 = 5;
/// Changes under each plan.
const CHANGES: u32 = 90;
/// So many of all of them reach Cal.com at least: two changes of one booking may be one.
const CHANGES_SEEN: usize = 200;
const FORGED: usize = 10_000;
/// One in so many is genuine.
const GENUINE_EVERY: usize = 100;

/// How Cal.com's deliveries are disturbed, one after the other.
fn plans() -> [WebhookPlan; 3] {
    let plan = WebhookPlan { seed: Some(7), mode: Mode::Inline, drop: 0.2, ..WebhookPlan::default() };
    [
        WebhookPlan { duplicates: 9, ..plan.clone() },
        WebhookPlan { duplicates: 9, delay_ms_max: 3_000, ..plan.clone() },
        WebhookPlan { delay_ms_max: 2_000, ..plan },
    ]
}

/// Draws numbers; the same in every run.
struct Lots(u64);

impl Lots {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// What is there to be changed, and the next time that nobody has had.
struct Scene {
    ours: Vec<(AppointmentId, u32)>,
    foreign: Vec<(String, u32)>,
    fresh: [u32; STAFF as usize],
}

impl Scene {
    /// A time of this member of staff that nobody has asked for.
    fn fresh(&mut self, staff: u32) -> u32 {
        let nth = &mut self.fresh[staff as usize];
        *nth += 1;
        *nth * STAFF + staff
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_webhooks_do_the_record_comes_to_cal_com_s_state() {
    let world = World::of(Setup { staff: STAFF.try_into().unwrap(), ..Setup::default() }).await;
    let api = world.api().await;
    world.hears(&api).await;
    world.sandbox.set_latency(Duration::from_millis(5), Duration::from_millis(5));
    let _workers = [world.worker_with(&by_sweep()), world.worker_with(&by_sweep())];
    let mut scene = Scene { ours: vec![], foreign: vec![], fresh: [0; STAFF as usize] };
    let mut lots = Lots(1);
    for plan in plans() {
        world.sandbox.set_webhook_plan(plan).unwrap();
        for _ in 0..CHANGES {
            change(&world, &mut scene, &mut lots).await;
        }
    }
    world.sandbox.webhooks_at_rest().await;
    let attempts = world.sandbox.webhook_attempts();
    let changed = world.sandbox.ledger().iter().filter(|entry| entry.effect.is_some()).count();
    eprintln!("{changed} changes at Cal.com");
    assert!(changed > CHANGES_SEEN, "changes at Cal.com: {changed}");
    let dropped = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Dropped).count();
    let doubled = attempts.iter().filter(|attempt| attempt.copy > 0 && attempt.status == Some(200)).count();
    let late = attempts.iter().filter(|attempt| attempt.delay_ms.is_some() && attempt.status == Some(200)).count();
    eprintln!("{} copies: {dropped} dropped, {doubled} doubled, {late} late", attempts.len());
    assert!(dropped > 0 && doubled > 0 && late > 0);
    assert!(attempts.iter().all(|attempt| matches!(attempt.status, None | Some(200))));
    wait_until("Cal.com's state", async || {
        world.rests().await;
        differences(&world).await.is_empty()
    })
    .await;
    let shown = "SELECT count(*) FROM appointment WHERE status = $1";
    for status in ["scheduled", "cancelled"] {
        let count: i64 = sqlx::query_scalar(shown).bind(status).fetch_one(&world.pool).await.unwrap();
        eprintln!("{count} {status}");
        assert!(count > 0);
    }
    assert_eq!(world.count("SELECT count(*) FROM segment WHERE sync = 'needs_review'").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM appointment_event WHERE who = 'calcom' AND why IS NOT NULL").await, 0);
    world.gone().await;
}

/// One change by us or by others, of something that there is, or something new. Others change only what Cal.com has.
async fn change(world: &World, scene: &mut Scene, lots: &mut Lots) {
    let staff = u32::try_from(lots.below(STAFF as usize)).unwrap();
    let fresh = scene.fresh(staff);
    match lots.below(8) {
        action @ (0 | 1) if !scene.foreign.is_empty() => {
            let nth = lots.below(scene.foreign.len());
            let (uid, staff) = scene.foreign.swap_remove(nth);
            if action == 0 {
                world.sandbox.cancel_by_others(&uid).await.unwrap();
            } else {
                let to = world.wish(scene.fresh(staff)).await.starts_at;
                let moved = world.sandbox.reschedule_by_others(&uid, to).await.unwrap();
                scene.foreign.push((moved.uid, staff));
            }
        }
        0..=2 => {
            let booking = world.sandbox.create_by_others(&world.foreign(fresh).await).await.unwrap();
            scene.foreign.push((booking.uid, staff));
        }
        action @ 4..8 if !scene.ours.is_empty() => {
            let nth = lots.below(scene.ours.len());
            let (id, staff) = scene.ours[nth];
            let to = world.wish(scene.fresh(staff)).await.starts_at;
            // We may be at it at the same time; what has been called off meanwhile is left alone.
            let stays = match (action, there(world, id).await) {
                (4, Some(uid)) => world.sandbox.reschedule_by_others(&uid, to).await.is_ok(),
                (5, Some(uid)) => world.sandbox.cancel_by_others(&uid).await.is_err(),
                (6, Some(_)) => world.store.accept_reschedule(&crate::reschedule(world, id, to)).await.is_ok(),
                (7, Some(_)) => world.store.accept_cancel(&crate::cancel(world, id)).await.is_err(),
                (_, _) => false,
            };
            if !stays {
                scene.ours.swap_remove(nth);
            }
        }
        _ => scene.ours.push((world.book(fresh).await, staff)),
    }
}

/// The booking of an appointment, as soon as Cal.com has one; `None`: it is called off.
async fn there(world: &World, id: AppointmentId) -> Option<String> {
    wait_for("a booking", async || match world.booking(id).await {
        Some(booking) => Some(Some(booking.uid)),
        None if world.status(id).await == "requested" => None,
        None => Some(None),
    })
    .await
}

/// Where the record and Cal.com do not say the same.
async fn differences(world: &World) -> Vec<String> {
    let sql = "SELECT a.status, a.starts_at, g.lineage::text FROM appointment a JOIN segment g USING (appointment_id)";
    let promised: Vec<(String, chrono::DateTime<chrono::Utc>, String)> =
        sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap();
    let live = world.live();
    let mut differences = vec![];
    for (status, starts_at, lineage) in promised {
        let of_it = live.iter().filter(|b| b.metadata.get("gateway_key") == Some(&lineage));
        let stands: Vec<_> = of_it.map(|booking| booking.start).collect();
        let wanted = if status == "scheduled" { vec![starts_at] } else { vec![] };
        if stands != wanted {
            differences.push(format!("{status} at {starts_at}, but {stands:?}"));
        }
    }
    let foreign = live.iter().filter(|booking| !booking.metadata.contains_key("gateway_key"));
    let foreign: BTreeSet<String> = foreign.map(|booking| booking.uid.clone()).collect();
    let busy: Vec<String> =
        sqlx::query_scalar("SELECT calcom_uid FROM external_busy").fetch_all(&world.pool).await.unwrap();
    if foreign != busy.into_iter().collect() {
        differences.push("other people's time".to_owned());
    }
    differences
}

/// Ten thousand who do not know the secret, and a hundred who do.
#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_forged_webhooks_none_is_taken() {
    let world = World::new().await;
    let api = world.api().await;
    world.hears(&api).await;
    let url = format!("{}/calcom/webhook/salon", api.url);
    let http = reqwest::Client::new();
    let post = async |n: usize| {
        let mut body = made_up_webhook().into_bytes();
        let mut signature = webhook_signature(WEBHOOK_SECRET, &body);
        let genuine = n.is_multiple_of(GENUINE_EVERY);
        if !genuine {
            forge(n, &mut body, &mut signature);
        }
        let request =
            http.post(&url).header("x-cal-signature-256", signature).header("content-type", "application/json");
        let status = wait_for("an answer", async || request.try_clone().unwrap().body(body.clone()).send().await.ok())
            .await
            .status()
            .as_u16();
        assert_eq!(status, if genuine { 200 } else { 401 }, "number {n}");
        usize::from(genuine)
    };
    let numbers = stream::iter(0..FORGED + FORGED / (GENUINE_EVERY - 1));
    let genuine: usize = numbers.map(post).buffer_unordered(32).fold(0, async |sum, one| sum + one).await;
    let kept = world.count("SELECT count(*) FROM webhook_inbox WHERE source = 'calcom'").await;
    assert_eq!(usize::try_from(kept).unwrap(), genuine, "each genuine one, and no other");
    eprintln!("{genuine} genuine webhooks were taken, none of {FORGED} forged ones");
    world.gone().await;
}

/// Another secret, a bit more or less in the body or in the signature, none at all, or the signature of another body.
fn forge(n: usize, body: &mut [u8], signature: &mut String) {
    match n % 6 {
        0 => *signature = webhook_signature(&format!("{WEBHOOK_SECRET}{n}"), body),
        1 => body[n / 8 % body.len()] ^= 1 << (n % 8),
        2 => {
            let at = n % signature.len();
            let digit = u8::from_str_radix(&signature[at..=at], 16).unwrap() ^ (1 << (n / 7 % 4));
            signature.replace_range(at..=at, &format!("{digit:x}"));
        }
        3 => *signature = webhook_signature(WEBHOOK_SECRET, made_up_webhook().as_bytes()),
        4 => *signature = "no-secret-provided".to_owned(),
        _ => signature.truncate(n % 64),
    }
}
