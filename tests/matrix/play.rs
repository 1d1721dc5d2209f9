//! How a cell is played: a company, a database, a queue and a Cal.com of its own; what was promised before; the request and
//! the trouble that it meets; what becomes of the worker; what the customer does meanwhile; and then nothing, until
//! everything has come to rest.
//!
//! Deliberately absent: what must hold then (`verdict`).

use crate::cell::{Cell, Meanwhile, Op, Trouble, Worker};
use crate::customer::{Customer, Reply};
use crate::found::Found;
use crate::rest::{PATIENCE, comes_to_rest, rests, until};
use crate::script::Script;
use chrono::{DateTime, TimeDelta, Utc};
use domain::id::AppointmentId;
use harness::{Process, World, event_type_id};
use queue::Task;
use sandbox::{Entry, What};
use serde_json::json;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::time::Duration;
use store::JobRef;
use uuid::Uuid;

/// So long an answer takes that a worker is to wait for, before it stands still.
const ANSWER_AFTER: Duration = Duration::from_millis(500);

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
    /// What the workers said.
    pub(crate) log: String,
}

struct Stage<'a> {
    world: &'a World,
    log: &'a File,
    cell: Cell,
    script: Script,
    customer: Customer,
    appointment: AppointmentId,
    job: JobRef,
    asked: DateTime<Utc>,
}

/// Plays it once. `Err`: it did not come to what was to be played, and says why.
pub(crate) async fn play(world: &World, cell: Cell, seed: u64) -> Result<Played, String> {
    let mut log = log().map_err(|error| error.to_string())?;
    let played = perform(world, cell, Script::of(&cell, seed), &log).await;
    let mut said = String::new();
    log.rewind().and_then(|()| log.read_to_string(&mut said)).map_err(|error| error.to_string())?;
    match played {
        Ok(played) => Ok(Played { log: said, ..played }),
        Err(why) => Err(format!("{why}\n{said}")),
    }
}

async fn perform(world: &World, cell: Cell, script: Script, log: &File) -> Result<Played, String> {
    let stage = Stage::set(world, cell, script, log).await?;
    let (told, evidence, restless) = stage.perform().await?;
    let Stage { script, customer: Customer { first, third, .. }, appointment, asked, .. } = stage;
    let (found, log) = (Found::read(world).await, String::new());
    Ok(Played { cell, script, asked, first, third, appointment, told, evidence, restless, found, log })
}

/// A file for what the workers say; its name is gone already, so that nobody has to clear it away.
fn log() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("askpro-matrix-{}.log", Uuid::now_v7().simple()));
    let file = File::options().read(true).append(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// A worker with the script's times, that dies at `crash_at`, if one is given.
fn worker(world: &World, script: &Script, log: &File, crash_at: Option<&str>) -> Process {
    let milliseconds = |d: Duration| d.as_millis().to_string();
    let mut variables = vec![
        ("ASKPRO_QUARANTINE_MS", milliseconds(script.quarantine)),
        // As a company has it that shares its key with nobody.
        ("ASKPRO_CALCOM_REQUESTS_PER_MINUTE", "120".to_owned()),
    ];
    if let Some(sweep) = script.sweep {
        variables.extend([("ASKPRO_SWEEP_MS", milliseconds(sweep)), ("ASKPRO_AUDIT_MS", milliseconds(sweep))]);
    }
    variables.extend(crash_at.map(|point| ("CRASH_AT", point.to_owned())));
    world.worker_telling(&variables, log.try_clone().unwrap())
}

impl<'a> Stage<'a> {
    /// What was promised before, and the command whose request meets the trouble; no worker runs.
    async fn set(world: &'a World, cell: Cell, script: Script, log: &'a File) -> Result<Self, String> {
        if cell.trouble == Trouble::Pending {
            world.let_the_business_confirm();
        }
        let customer = Customer::of(world).await;
        let booked = customer.books(world, customer.first).await?;
        let appointment = booked.appointment_id;
        let (accepted, asked) = if cell.op == Op::Create {
            (booked, customer.first)
        } else {
            let mut before = worker(world, &script, log, None);
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
        let stage = Self { world, log, cell, script, customer, appointment, job, asked };
        if cell.trouble == Trouble::Taken {
            stage.stranger_books(asked).await?;
        }
        if cell.trouble == Trouble::OverlapOff {
            stage.stranger_books(asked + TimeDelta::minutes(15)).await?;
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
        let restless = comes_to_rest(self.world, self.cell.trouble, &self.script).await.err();
        drop((worker, another));
        Ok((told, evidence, restless))
    }

    fn worker(&self, crash_at: Option<&str>) -> Process {
        worker(self.world, &self.script, self.log, crash_at)
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

async fn ring(world: &World, jobs: &[JobRef]) {
    let tasks: Vec<Task> = jobs.iter().map(|job| Task { company_id: job.company_id, job_id: job.job_id.0 }).collect();
    // If Redis is away the workers come by themselves.
    let _lost = world.doorbell().ring(&tasks).await;
}
