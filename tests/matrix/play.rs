//! How a cell is played: a company, a database, a queue and a Cal.com of its own; what was promised before; the request and
//! the trouble that it meets; what becomes of the worker; what the customer does meanwhile; and then nothing, until
//! everything has come to rest.
//!
//! Deliberately absent: what must hold then (`verdict`).

use crate::cell::{Cell, Meanwhile, Op, Trouble, Worker};
use crate::customer::{Customer, Reply};
use crate::found::Found;
use crate::script::Script;
use chrono::{DateTime, TimeDelta, Utc};
use domain::id::AppointmentId;
use harness::{Process, World, event_type_id};
use queue::Task;
use sandbox::{Booking, Entry, Status, What};
use serde_json::json;
use std::time::{Duration, Instant};
use store::JobRef;

/// Whatever takes longer than this never comes.
const PATIENCE: Duration = Duration::from_secs(45);
/// Between two looks whether something has happened.
const LOOK: Duration = Duration::from_millis(10);
/// So long an answer takes that a worker is to wait for, before it stands still.
const ANSWER_AFTER: Duration = Duration::from_millis(500);
/// Timers are late.
const TIMER: TimeDelta = TimeDelta::milliseconds(500);

/// A cell after its play.
pub(crate) struct Played {
    pub(crate) cell: Cell,
    pub(crate) script: Script,
    /// What the request asks for.
    pub(crate) asked: DateTime<Utc>,
    /// Where the booking stood before, or is to stand.
    pub(crate) first: DateTime<Utc>,
    /// A third time, if the customer comes to want it.
    pub(crate) third: DateTime<Utc>,
    pub(crate) appointment: AppointmentId,
    /// What the customer heard meanwhile.
    pub(crate) told: Vec<Reply>,
    /// A lost worker has left Cal.com's uid behind.
    pub(crate) evidence: bool,
    /// What was waited for in vain, at the end.
    pub(crate) restless: Option<String>,
    pub(crate) found: Found,
}

struct Stage<'a> {
    world: &'a World,
    cell: Cell,
    script: Script,
    customer: Customer,
    appointment: AppointmentId,
    job: JobRef,
    asked: DateTime<Utc>,
}

/// Plays it once. `Err`: it did not come to what was to be played, and says why.
pub(crate) async fn play(world: &World, cell: Cell, seed: u64) -> Result<Played, String> {
    let script = Script::of(&cell, seed);
    let stage = Stage::set(world, cell, script).await?;
    let (told, evidence, restless) = stage.perform().await?;
    let Stage { script, customer: Customer { first, third, .. }, appointment, asked, .. } = stage;
    let found = Found::read(world).await;
    Ok(Played { cell, script, asked, first, third, appointment, told, evidence, restless, found })
}

impl<'a> Stage<'a> {
    /// What was promised before, and the command whose request meets the trouble; no worker runs.
    async fn set(world: &'a World, cell: Cell, script: Script) -> Result<Self, String> {
        if cell.trouble == Trouble::Pending {
            world.let_the_business_confirm();
        }
        let customer = Customer::of(world).await;
        let booked = customer.books(world, customer.first).await?;
        let appointment = booked.appointment_id;
        let (accepted, asked) = if cell.op == Op::Create {
            (booked, customer.first)
        } else {
            let mut before = world.worker(None);
            ring(world, &booked.ring).await;
            rests(world).await?;
            before.kill();
            match cell.op {
                Op::Cancel => (customer.cancels(world, appointment).await?, customer.first),
                Op::Create | Op::Reschedule => {
                    (customer.moves(world, appointment, customer.second).await?, customer.second)
                }
            }
        };
        let job = accepted.job.ok_or("the command made no job")?.job;
        // The customer's own job would only stand in the way.
        for other in accepted.ring.iter().filter(|other| **other != job) {
            world.store.claim(*other, "matrix").await.map_err(|error| error.to_string())?;
        }
        world.sandbox.set_checks(script.checks);
        world.sandbox.set_replica_lag(script.lag);
        world.sandbox.set_faults(script.faults(cell.op)).map_err(|error| error.to_string())?;
        if cell.worker == Worker::StandsStill {
            world.sandbox.set_latency(Duration::ZERO, ANSWER_AFTER);
        }
        let stage = Self { world, cell, script, customer, appointment, job, asked };
        match cell.trouble {
            Trouble::Taken => stage.stranger_books(asked).await?,
            Trouble::OverlapOff => stage.stranger_books(asked + TimeDelta::minutes(15)).await?,
            _ => {}
        }
        Ok(stage)
    }

    async fn perform(&self) -> Result<(Vec<Reply>, bool, Option<String>), String> {
        let mut worker = self.worker(match self.cell.worker {
            Worker::Lives | Worker::StandsStill => None,
            Worker::DiesBeforeAct => Some("claimed#1"),
            Worker::DiesBeforeSettle => Some("answered#1"),
        });
        ring(self.world, &[self.job]).await;
        let (mut evidence, mut another) = (false, None);
        let told = match self.cell.worker {
            Worker::Lives => {
                self.strikes().await?;
                self.meanwhile().await?
            }
            Worker::DiesBeforeAct => {
                dies(&mut worker).await?;
                another = Some(self.worker(None));
                let (struck, told) = tokio::join!(self.strikes_if_it_comes(), self.meanwhile());
                struck?;
                told?
            }
            // On a slow machine its time may be over before it has sent anything; then the next one's request strikes.
            Worker::DiesBeforeSettle => {
                let death = async {
                    dies(&mut worker).await?;
                    Ok::<_, String>(self.worker(None))
                };
                let course = async {
                    self.strikes().await?;
                    self.meanwhile().await
                };
                let (next, told) = tokio::join!(death, course);
                another = Some(next?);
                told?
            }
            Worker::StandsStill => {
                self.strikes().await?;
                self.stands_still(&worker).await?;
                // Whoever insists on a time that is being released waits for this very worker.
                let sleeps = self.cell.meanwhile != Meanwhile::Again;
                let asleep = if sleeps { self.meanwhile().await? } else { vec![] };
                worker.go_on();
                evidence = self.leaves_evidence().await?;
                if sleeps { asleep } else { self.meanwhile().await? }
            }
        };
        let restless = self.comes_to_rest().await.err();
        drop((worker, another));
        Ok((told, evidence, restless))
    }

    fn worker(&self, crash_at: Option<&str>) -> Process {
        let milliseconds = |d: Duration| d.as_millis().to_string();
        let mut variables = vec![
            ("ASKPRO_QUARANTINE_MS", milliseconds(self.script.quarantine)),
            // As a company has it that shares its key with nobody.
            ("ASKPRO_CALCOM_REQUESTS_PER_MINUTE", "120".to_owned()),
        ];
        if let Some(sweep) = self.script.sweep {
            variables.extend([("ASKPRO_SWEEP_MS", milliseconds(sweep)), ("ASKPRO_AUDIT_MS", milliseconds(sweep))]);
        }
        variables.extend(crash_at.map(|point| ("CRASH_AT", point.to_owned())));
        self.world.worker_with(&variables)
    }

    /// The request is at Cal.com.
    async fn strikes(&self) -> Result<(), String> {
        until("the request", async || self.arrival().is_some()).await?;
        self.in_the_window().await
    }

    /// As `strikes`, where another promise may have made it needless.
    async fn strikes_if_it_comes(&self) -> Result<(), String> {
        let comes = self.cell.meanwhile == Meanwhile::Nothing || self.cell.trouble != Trouble::Calm;
        if comes { self.strikes().await } else { Ok(()) }
    }

    /// Cal.com has looked, and has not booked yet.
    async fn in_the_window(&self) -> Result<(), String> {
        let toctou = self.cell.trouble == Trouble::OverlapToctou;
        match self.arrival().filter(|_| toctou).and_then(|request| request.start) {
            Some(start) => self.stranger_books(start).await,
            None => Ok(()),
        }
    }

    fn arrival(&self) -> Option<Entry> {
        let is_it = |e: &Entry| e.what == What::Arrival && asks_for(e) == Some(self.cell.op);
        self.world.sandbox.ledger().into_iter().find(is_it)
    }

    async fn stranger_books(&self, start: DateTime<Utc>) -> Result<(), String> {
        let attendee = json!({"name": "Max", "email": "max@salon.test", "timeZone": "Europe/Berlin"});
        let body = json!({"eventTypeId": event_type_id(1), "start": start, "attendee": attendee});
        self.world.sandbox.create_by_others(&body).await.map(drop).map_err(|error| format!("the stranger: {error}"))
    }

    async fn meanwhile(&self) -> Result<Vec<Reply>, String> {
        if self.cell.meanwhile == Meanwhile::Nothing {
            return Ok(vec![]);
        }
        tokio::time::sleep(self.script.meanwhile_after).await;
        let (world, customer, id) = (self.world, &self.customer, self.appointment);
        Ok(match self.cell.meanwhile {
            Meanwhile::Nothing => vec![],
            Meanwhile::Cancel => vec![Reply::of(customer.try_cancel(world, id).await)],
            Meanwhile::Reschedule => {
                let to = if self.script.back { customer.first } else { customer.third };
                vec![Reply::of(customer.try_move(world, id, to).await)]
            }
            Meanwhile::Again => customer.insists(world, self.asked, PATIENCE).await,
        })
    }

    /// The worker has its answer, and stands still until its job is everybody's.
    async fn stands_still(&self, worker: &Process) -> Result<(), String> {
        let mut lock = self.world.pool.begin().await.map_err(|error| error.to_string())?;
        sqlx::query("SELECT FROM appointment FOR NO KEY UPDATE").execute(&mut *lock).await.unwrap();
        if self.world.count("SELECT count(*) FROM job WHERE state = 'running' AND kind IN ('booking', 'sync')").await
            == 0
        {
            return Err("it had settled before it could be stopped".to_owned());
        }
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until("the settle", async || self.world.count(waits).await > 0).await?;
        worker.pause();
        until("the end of its patience", async || self.world.count(waits).await == 0).await?;
        lock.rollback().await.map_err(|error| error.to_string())?;
        until("rescue", async || self.world.store.rescue(10).await.is_ok_and(|rung| !rung.is_empty())).await
    }

    /// Whether what Cal.com said is known before anybody has looked.
    async fn leaves_evidence(&self) -> Result<bool, String> {
        let seen = "SELECT count(*) FROM calcom_op WHERE sent_at = (SELECT max(sent_at) FROM calcom_op)
                      AND uid IS NOT NULL AND looks = 0";
        let over = "SELECT count(*) FROM calcom_op WHERE looks > 0";
        let either = async || self.world.count(seen).await + self.world.count(over).await > 0;
        until("what the worker says when it wakes up", either).await?;
        Ok(self.world.count(seen).await > 0)
    }

    async fn comes_to_rest(&self) -> Result<(), String> {
        if let Some(late) = self.script.late() {
            until("the late effect", async || self.late_effect_is_over(late).await).await?;
        }
        rests(self.world).await?;
        if self.cell.trouble == Trouble::Pending {
            self.business_confirms().await?;
        }
        if self.cell.trouble.breaks_the_quarantine() {
            let wanted = "SELECT count(*) FROM appointment WHERE status IN ('requested', 'scheduled')";
            until("the end of what was doubled", async || {
                let live = self.world.sandbox.bookings().iter().filter(|b| is_live(b) && b.marker().is_some()).count();
                self.world.count(wanted).await == i64::try_from(live).unwrap_or(i64::MAX)
            })
            .await?;
            rests(self.world).await?;
        }
        Ok(())
    }

    /// Whatever waits for it, and a sweep finds that.
    async fn business_confirms(&self) -> Result<(), String> {
        for booking in self.world.sandbox.bookings().iter().filter(|b| b.status == Status::Pending) {
            self.world.sandbox.confirm_by_others(&booking.uid).await.map_err(|error| error.to_string())?;
        }
        let waiting = "SELECT count(*) FROM appointment WHERE status = 'requested'";
        until("what the business has confirmed", async || self.world.count(waiting).await == 0).await?;
        rests(self.world).await
    }

    /// It has come, or it would have by now: Cal.com may have refused it.
    async fn late_effect_is_over(&self, late: Duration) -> bool {
        let now: DateTime<Utc> =
            sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&self.world.pool).await.unwrap();
        let ledger = self.world.sandbox.ledger();
        let struck = ledger.iter().find(|entry| entry.fault.is_some()).map(|entry| entry.request);
        let of_it = || ledger.iter().filter(|entry| Some(entry.request) == struck);
        let replied = of_it().find(|entry| entry.what == What::Reply).map(|entry| entry.at);
        let due = replied.map(|at| at + TimeDelta::from_std(late).unwrap_or_default() + TIMER);
        of_it().any(|entry| entry.what == What::Effect) || due.is_some_and(|due| due <= now)
    }
}

/// Does it stand at Cal.com, confirmed or not?
pub(crate) fn is_live(booking: &Booking) -> bool {
    matches!(booking.status, Status::Accepted | Status::Pending)
}

/// What a request of the gateway asks for; `None` = a read, or a stranger's doing.
pub(crate) fn asks_for(entry: &Entry) -> Option<Op> {
    let rest = entry.path.strip_prefix("/v2/bookings").filter(|_| entry.method == "POST")?;
    match rest.rsplit('/').next()? {
        "cancel" => Some(Op::Cancel),
        "reschedule" => Some(Op::Reschedule),
        _ => Some(Op::Create),
    }
}

async fn dies(worker: &mut Process) -> Result<(), String> {
    until("the worker's death", async || worker.has_ended()).await
}

async fn rests(world: &World) -> Result<(), String> {
    let left = "SELECT (SELECT count(*) FROM job WHERE finished_at IS NULL)
                     + (SELECT count(*) FROM calcom_op WHERE resolved_at IS NULL)";
    until("rest", async || world.count(left).await == 0).await
}

async fn ring(world: &World, jobs: &[JobRef]) {
    let tasks: Vec<Task> = jobs.iter().map(|job| Task { company_id: job.company_id, job_id: job.job_id.0 }).collect();
    // If Redis is away the workers come by themselves.
    let _lost = world.doorbell().ring(&tasks).await;
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        if Instant::now() > deadline {
            return Err(format!("waited in vain for: {what}"));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
