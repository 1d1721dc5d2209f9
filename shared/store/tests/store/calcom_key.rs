//! The bucket of a Cal.com key as the record keeps it: one for all processes and companies that use the key, and the
//! claims that wait for it, the oldest promise first.

use crate::world::{World, granted, settings, settle};
use chrono::{DateTime, TimeDelta, Utc};
use domain::budget::{Heard, Pass, Purpose, Why};
use domain::job::State;
use domain::outcome::Outcome;
use secrecy::SecretString;
use sqlx::ConnectOptions;
use std::sync::Arc;
use std::time::Duration;
use store::{Claim, Fingerprint, JobRef, Mode, Question, Reply, SecretKind, Store};
use tokio::sync::Barrier;

const SENT: Pass = Pass { probe: None };

fn key() -> SecretString {
    SecretString::from("cal_live_0123456789")
}

async fn world() -> World {
    let world = World::new().await;
    world.store.set_secret(world.company.company_id, SecretKind::Calcom, &key()).await.unwrap();
    world
}

/// Jobs of promises that were made one after another.
async fn booked(world: &World, count: u32) -> Vec<JobRef> {
    let mut jobs = Vec::new();
    for n in 0..count {
        let accepted = world.store.accept_booking(&world.wish(n, 30 * i64::from(n))).await.unwrap();
        jobs.push(accepted.job.unwrap().job);
    }
    jobs
}

async fn asked(store: &Store, question: Question) -> Reply {
    store.ask_calcom_key(Fingerprint::of(&key()), &[question]).await.unwrap().replies.remove(0)
}

/// Uses up so much of the budget.
async fn spend(world: &World, requests: usize) {
    let questions = vec![Question::May(Purpose::Look); requests];
    let replies = world.store.ask_calcom_key(Fingerprint::of(&key()), &questions).await.unwrap().replies;
    assert!(replies.iter().all(|reply| *reply == Reply::Go(SENT)), "{replies:?}");
}

async fn busy_until(world: &World, job: JobRef) -> Option<DateTime<Utc>> {
    match world.store.claim(job, "w").await.unwrap() {
        Claim::Busy { until, .. } => until,
        other => panic!("not busy: {other:?}"),
    }
}

async fn ask_again_now(world: &World) {
    let due = "UPDATE job SET run_at = now(), not_before = LEAST(not_before, now()) WHERE finished_at IS NULL";
    world.sql(due).await;
}

/// The limit is 120, nine tenths of it for acts.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_ask_at_once_share_one_bucket() {
    let world = world().await;
    let url = world.pool.connect_options().to_url_lossy().to_string();
    let processes: Vec<Store> = (0..2).map(|_| Store::connect(settings(url.clone())).unwrap()).collect();
    let barrier = Arc::new(Barrier::new(40));
    let mut askers = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (store, barrier) = (processes[n % 2].clone(), barrier.clone());
        askers.spawn(async move {
            barrier.wait().await;
            let mut granted = 0;
            for purpose in [Purpose::Act, Purpose::Act, Purpose::Sweep] {
                let questions = [Question::May(purpose); 3];
                let answer = store.ask_calcom_key(Fingerprint::of(&key()), &questions).await.unwrap();
                granted += answer.replies.iter().filter(|reply| matches!(reply, Reply::Go(_))).count();
            }
            granted
        });
    }
    assert_eq!(askers.join_all().await.iter().sum::<usize>(), 108, "360 were asked for");
    assert!(matches!(asked(&world.store, Question::May(Purpose::Act)).await, Reply::Wait { why: Why::Spent, .. }));
    spend(&world, 12).await;
    assert!(matches!(asked(&world.store, Question::May(Purpose::Look)).await, Reply::Wait { why: Why::Spent, .. }));
    let other = Fingerprint::of(&SecretString::from("another key"));
    let reply = world.store.ask_calcom_key(other, &[Question::May(Purpose::Act)]).await.unwrap();
    assert_eq!(reply.replies, [Reply::Go(SENT)], "each key has its own");
    let standing = world.store.calcom_keys().await.unwrap();
    let mut left: Vec<_> = standing.iter().map(|key| (key.left, key.down, key.name.len())).collect();
    left.sort_unstable();
    assert_eq!(left, [(0, false, 8), (119, false, 8)]);
    processes.into_iter().for_each(drop);
    world.gone().await;
}

#[tokio::test]
async fn nothing_is_claimed_while_the_key_rests_whichever_company_was_throttled() {
    let world = world().await;
    let job = booked(&world, 1).await[0];
    let pause = Heard::Throttled(Duration::from_secs(60));
    let Reply::Noted { wait: Some(wait) } = asked(&world.store, Question::Heard(SENT, pause)).await else {
        panic!("a pause has an end")
    };
    assert_eq!(wait, Duration::from_secs(60));
    let until = busy_until(&world, job).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM calcom_op").await, 0, "waiting costs no intent");
    let run_at: DateTime<Utc> =
        sqlx::query_scalar("SELECT run_at FROM job WHERE kind = 'booking'").fetch_one(&world.pool).await.unwrap();
    assert_eq!(run_at, until, "due when the key may be used again");
    world.sql("UPDATE calcom_key SET paused_until = now()").await;
    ask_again_now(&world).await;
    assert_eq!(granted(&world, job).await.mode, Mode::Act);
    world.gone().await;
}

#[tokio::test]
async fn a_key_that_was_set_by_an_older_release_gets_its_fingerprint_when_it_is_read() {
    let world = world().await;
    let job = booked(&world, 1).await[0];
    asked(&world.store, Question::Heard(SENT, Heard::Throttled(Duration::from_secs(60)))).await;
    world.sql("UPDATE company_secret SET fingerprint = NULL").await;
    world.store.secrets(world.company.company_id, SecretKind::Calcom).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM company_secret WHERE fingerprint IS NULL").await, 0);
    assert!(busy_until(&world, job).await.is_some(), "its claims find its bucket");
    world.gone().await;
}

#[tokio::test]
async fn while_cal_com_is_down_the_oldest_promise_has_the_probe_and_a_newcomer_overtakes_nobody() {
    let world = world().await;
    let jobs = booked(&world, 3).await;
    asked(&world.store, Question::Heard(SENT, Heard::NotSent)).await;
    for job in &jobs {
        busy_until(&world, *job).await;
    }
    world.sql("UPDATE calcom_key SET next_probe_at = clock_timestamp()").await;
    ask_again_now(&world).await;
    busy_until(&world, jobs[2]).await;
    busy_until(&world, jobs[1]).await;
    let probing = granted(&world, jobs[0]).await;
    let Reply::Go(probe) = asked(&world.store, Question::May(Purpose::Act)).await else { panic!("no probe") };
    assert!(probe.probe.is_some());
    assert!(matches!(asked(&world.store, Question::May(Purpose::Look)).await, Reply::Wait { why: Why::Down, .. }));

    let Reply::Noted { wait } = asked(&world.store, Question::Heard(probe, Heard::NotSent)).await else { panic!() };
    assert!(wait.unwrap() <= Duration::from_secs(2));
    assert_eq!(settle(&world, &probing, &Outcome::Snoozed { wait }).await, State::Retryable);
    world.sql("UPDATE calcom_key SET next_probe_at = clock_timestamp() - interval '2 seconds'").await;
    ask_again_now(&world).await;
    assert_eq!(granted(&world, jobs[2]).await.mode, Mode::Act, "a probe that nobody takes is anybody's");
    world.gone().await;
}

#[tokio::test]
async fn after_an_outage_the_older_ones_are_woken_in_their_order_and_not_more_than_a_few_are_overtaken() {
    let world = world().await;
    let mut jobs = booked(&world, 16).await;
    for n in 16..32 {
        let wish = world.wish(n, 30 * i64::from(n - 16) + 24 * 60);
        jobs.push(world.store.accept_booking(&wish).await.unwrap().job.unwrap().job);
    }
    asked(&world.store, Question::Heard(SENT, Heard::NotSent)).await;
    let later = "UPDATE job SET run_at = clock_timestamp() + interval '10 seconds' WHERE kind = 'booking'";
    world.sql(later).await;
    asked(&world.store, Question::Heard(SENT, Heard::Answered)).await;
    let waits: Vec<f64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM run_at - min(run_at) OVER ())::float8 FROM job WHERE kind = 'booking'
         ORDER BY created_at",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert!(waits.is_sorted() && waits[31] > 0.3 && waits[31] < 5.0, "10 ms apart: {waits:?}");
    world.sql(later).await;
    let next_day = world.wish(99, 2 * 24 * 60);
    let newcomer = world.store.accept_booking(&next_day).await.unwrap().job.unwrap().job;
    assert!(busy_until(&world, newcomer).await.is_some(), "they are counted although they are not due yet");
    ask_again_now(&world).await;
    assert_eq!(granted(&world, jobs[31]).await.mode, Mode::Act);
    assert_eq!(granted(&world, newcomer).await.mode, Mode::Act, "31 are fewer than 32");
    world.gone().await;
}

#[tokio::test]
async fn a_turn_that_a_younger_one_comes_upon_is_handed_to_the_oldest() {
    let world = world().await;
    let company = world.company.company_id;
    let jobs = booked(&world, 10).await;
    asked(&world.store, Question::Heard(SENT, Heard::NotSent)).await;
    let wait = "UPDATE job SET run_at = clock_timestamp() + interval '10 seconds', rung_at = '-infinity'";
    world.sql(wait).await;
    let due = async |job: JobRef| {
        let sql = "UPDATE job SET run_at = now() WHERE job_id = $1";
        sqlx::query(sql).bind(job.job_id.0).execute(&world.pool).await.unwrap();
    };
    let claimed = async |job: JobRef| {
        due(job).await;
        world.store.claim(job, "w").await.unwrap()
    };
    assert_eq!(claimed(jobs[9]).await.overtakes(), None, "it is down, and nobody has a turn");
    asked(&world.store, Question::Heard(SENT, Heard::Answered)).await;
    world.sql(wait).await;
    assert_eq!(claimed(jobs[7]).await.overtakes(), None, "it is one of the eight itself");
    let granted = claimed(jobs[9]).await;
    assert!(matches!(granted, Claim::Granted(_)));
    assert_eq!(granted.overtakes(), Some(company));
    let rung = world.store.hand_over(company).await.unwrap();
    let oldest: std::collections::BTreeSet<_> = jobs[..7].iter().chain([&jobs[8]]).map(|job| job.job_id.0).collect();
    assert_eq!(rung.iter().map(|job| job.job_id.0).collect::<std::collections::BTreeSet<_>>(), oldest);
    let due = "SELECT count(*) FROM job WHERE state = 'available' AND run_at <= clock_timestamp()";
    assert_eq!(world.count(due).await, 8);
    assert_eq!(world.store.hand_over(company).await.unwrap(), [], "they were rung for a moment ago");
    world.sql("UPDATE job SET rung_at = clock_timestamp() - interval '2 seconds'").await;
    assert_eq!(world.store.hand_over(company).await.unwrap().len(), 8, "a ring may be lost");
    world.gone().await;
}

/// 120 a minute: 108 of them for acts.
#[tokio::test]
async fn where_the_budget_is_scarce_the_older_promises_have_what_is_left() {
    let world = world().await;
    let jobs = booked(&world, 4).await;
    spend(&world, 80).await;
    let [first, last] = [jobs[0], jobs[3]];
    assert_eq!(granted(&world, last).await.mode, Mode::Act, "28 are plenty");
    spend(&world, 26).await;
    let until = busy_until(&world, jobs[2]).await.unwrap();
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&world.pool).await.unwrap();
    let soon = now + TimeDelta::seconds(67);
    assert!(until > soon - TimeDelta::seconds(20) && until <= soon, "its turn is when the window has room: {until}");
    assert_eq!(granted(&world, jobs[1]).await.mode, Mode::Act, "two are left, and one is older");
    spend(&world, 2).await;
    busy_until(&world, first).await;
    assert_eq!(world.count("SELECT count(*) FROM calcom_op").await, 2, "whoever waits has written no intent");
    world.gone().await;
}

#[tokio::test]
async fn a_wait_that_was_told_is_kept_to_and_is_not_an_attempt() {
    let world = world().await;
    let job = booked(&world, 1).await[0];
    let claimed = granted(&world, job).await;
    let wait = Some(Duration::from_secs(7));
    assert_eq!(settle(&world, &claimed, &Outcome::Snoozed { wait }).await, State::Retryable);
    let row: (f64, i16) = sqlx::query_as(
        "SELECT extract(epoch FROM run_at - (SELECT max(ended_at) FROM job_attempt))::float8, attempt FROM job
         WHERE kind = 'booking'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert!(row.0 > 6.5 && row.0 <= 7.0, "{} s", row.0);
    assert_eq!(row.1, 0);
    world.gone().await;
}
