//! The gate to Cal.com of a process: it asks the record's bucket, for everybody who asks meanwhile at once. API and workers
//! have one each, and the bucket is the fleet's.
//!
//! One transaction a key is under way; whoever comes during it goes with the next. So the bucket's row costs a
//! transaction a request only as long as that is cheap, and nothing is taken that nobody uses. Deliberately absent:
//! passing anybody while Postgres is away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use calcom::{Closed, Gate, Soon};
use domain::budget::{Heard, Pass, Purpose};
use secrecy::SecretString;
use store::{Fingerprint, Question, Replies, Reply, Store, StoreError};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex as Turn, oneshot};
use tokio::time::timeout;

/// What was heard is worth this much of the time in which its job is to be settled.
const TELL_MAX: Duration = Duration::from_secs(1);

/// Where questions about a key are answered, many at once.
pub trait Bucket: Send + Sync + 'static {
    /// One reply to each question.
    fn ask(&self, key: Fingerprint, questions: Vec<Question>) -> Soon<'_, Result<Replies, StoreError>>;
}

impl Bucket for Store {
    fn ask(&self, key: Fingerprint, questions: Vec<Question>) -> Soon<'_, Result<Replies, StoreError>> {
        Box::pin(async move { self.ask_calcom_key(key, &questions).await })
    }
}

/// Lets a request out if the bucket of its key does.
pub struct BucketGate<B> {
    bucket: B,
    keys: Mutex<HashMap<Fingerprint, Arc<Key>>>,
}

/// A reply, and a moment before it was given.
type Answer = (Reply, Instant);

#[derive(Default)]
struct Key {
    /// What the next transaction takes with it.
    waiting: Mutex<Vec<(Question, oneshot::Sender<Option<Answer>>)>>,
    /// Whoever has it asks.
    turn: Turn<()>,
    /// The bucket wants to know of usable answers, too.
    listens: AtomicBool,
}

impl<B: Bucket> BucketGate<B> {
    /// In front of this bucket.
    pub fn new(bucket: B) -> Self {
        Self { bucket, keys: Mutex::default() }
    }

    fn key(&self, fingerprint: Fingerprint) -> Arc<Key> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).entry(fingerprint).or_default().clone()
    }

    /// Whoever has the turn asks for all who wait; the others find their reply when the turn is theirs. A turn that is
    /// given up in its middle takes the questions with it, so they are put again. `None`: the record is away.
    async fn answer(&self, fingerprint: Fingerprint, key: &Key, question: Question) -> Option<Answer> {
        loop {
            let (sender, mut reply) = oneshot::channel();
            key.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((question, sender));
            let _turn = key.turn.lock().await;
            match reply.try_recv() {
                Ok(reply) => return reply,
                Err(TryRecvError::Closed) => continue,
                Err(TryRecvError::Empty) => {}
            }
            let waiting = std::mem::take(&mut *key.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            let (questions, senders): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
            let since = Instant::now();
            let replies: Vec<Option<Answer>> = match self.bucket.ask(fingerprint, questions).await {
                Ok(answer) => {
                    key.listens.store(answer.listens, Relaxed);
                    answer.replies.into_iter().map(|reply| Some((reply, since))).collect()
                }
                Err(error) => {
                    let waiting = senders.len();
                    tracing::warn!(error = &error as &dyn std::error::Error, waiting, "the budget could not be asked");
                    vec![None; waiting]
                }
            };
            for (sender, reply) in senders.into_iter().zip(replies) {
                let _gone = sender.send(reply);
            }
            return reply.try_recv().ok().flatten();
        }
    }
}

impl<B: Bucket> Gate for BucketGate<B> {
    fn ask<'a>(&'a self, key: &'a SecretString, purpose: Purpose) -> Soon<'a, Result<(Pass, Instant), Closed>> {
        Box::pin(async move {
            let fingerprint = Fingerprint::of(key);
            let (wait, reason) = match self.answer(fingerprint, &self.key(fingerprint), Question::May(purpose)).await {
                Some((Reply::Go(pass), since)) => return Ok((pass, since)),
                Some((Reply::Wait { wait, why }, _)) => (Some(wait), why.as_str()),
                Some((Reply::Noted { wait }, _)) => (wait, "mistaken"),
                None => (None, "record_away"),
            };
            metrics::counter!("askpro_calcom_denied_total", "reason" => reason).increment(1);
            Err(Closed { wait })
        })
    }

    fn tell<'a>(&'a self, key: &'a SecretString, pass: Pass, heard: Heard) -> Soon<'a, Option<Duration>> {
        Box::pin(async move {
            let fingerprint = Fingerprint::of(key);
            let own = self.key(fingerprint);
            if heard == Heard::Answered && pass.probe.is_none() && !own.listens.load(Relaxed) {
                return None;
            }
            if matches!(heard, Heard::Throttled(_)) {
                metrics::counter!("askpro_calcom_pauses_total").increment(1);
            }
            match timeout(TELL_MAX, self.answer(fingerprint, &own, Question::Heard(pass, heard))).await {
                Ok(Some((Reply::Noted { wait }, _))) => wait,
                Ok(Some((Reply::Go(_) | Reply::Wait { .. }, _))) => None,
                Ok(None) | Err(_) => {
                    tracing::warn!(?heard, "the budget was not told");
                    None
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use chrono::{DateTime, TimeDelta};
    use domain::budget::{self, Grant, Terms};
    use tokio::time::sleep;

    use super::*;

    const TERMS: Terms = Terms { requests: 120, timeout: TimeDelta::seconds(8) };
    const SENT: Pass = Pass { probe: None };

    /// The domain's bucket at a standing clock, 5 ms away; fails where the script says so.
    #[derive(Default)]
    struct Far {
        bucket: Mutex<budget::Bucket>,
        asked: Mutex<Vec<usize>>,
        fails: Mutex<VecDeque<bool>>,
    }

    impl Bucket for Arc<Far> {
        fn ask(&self, _key: Fingerprint, questions: Vec<Question>) -> Soon<'_, Result<Replies, StoreError>> {
            self.asked.lock().unwrap().push(questions.len());
            let fails = self.fails.lock().unwrap().pop_front().unwrap_or(false);
            Box::pin(async move {
                sleep(Duration::from_millis(5)).await;
                if fails {
                    return Err(StoreError::LockWait);
                }
                let (now, mut bucket) = (DateTime::UNIX_EPOCH, self.bucket.lock().unwrap());
                let wait = |until: DateTime<chrono::Utc>| (until - now).to_std().unwrap();
                let reply = |question| match question {
                    Question::May(purpose) => match bucket.take(now, TERMS, purpose) {
                        Grant::Go(pass) => Reply::Go(pass),
                        Grant::Wait { until, why } => Reply::Wait { wait: wait(until), why },
                    },
                    Question::Heard(pass, heard) => Reply::Noted { wait: bucket.heard(now, pass, heard).map(wait) },
                };
                Ok(Replies { replies: questions.into_iter().map(reply).collect(), listens: bucket.listens() })
            })
        }
    }

    fn gate() -> (Arc<Far>, Arc<BucketGate<Arc<Far>>>) {
        let far = Arc::<Far>::default();
        (far.clone(), Arc::new(BucketGate::new(far)))
    }

    async fn asks(gate: &BucketGate<Arc<Far>>, purpose: Purpose) -> Result<Pass, Closed> {
        gate.ask(&secret(), purpose).await.map(|(pass, _since)| pass)
    }

    fn secret() -> SecretString {
        SecretString::from("cal_live")
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_are_two_transactions_and_never_more_than_the_budget() {
        let (far, gate) = gate();
        let asking = (0..200).map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move { asks(&gate, Purpose::Act).await })
        });
        let answers = futures::future::join_all(asking.collect::<Vec<_>>()).await;
        let passed = answers.into_iter().filter(|answer| answer.as_ref().unwrap().is_ok()).count();
        assert_eq!(passed, 108);
        assert_eq!(*far.asked.lock().unwrap(), [1, 199]);
        let denied = asks(&gate, Purpose::Act).await;
        assert_eq!(denied, Err(Closed { wait: Some(Duration::from_secs(66)) }));
        assert_eq!(asks(&gate, Purpose::Look).await, Ok(SENT));
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_record_nobody_passes() {
        let (far, gate) = gate();
        far.fails.lock().unwrap().extend([true, true]);
        let denied = Err(Closed { wait: None });
        let both = tokio::join!(asks(&gate, Purpose::Act), asks(&gate, Purpose::Look));
        assert_eq!(both, (denied, denied));
        assert_eq!(asks(&gate, Purpose::Look).await, Ok(SENT));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_while_asking_holds_nobody_up() {
        let (far, gate) = gate();
        let first = timeout(Duration::from_millis(2), asks(&gate, Purpose::Act));
        let (first, second) = tokio::join!(first, asks(&gate, Purpose::Act));
        assert!(first.is_err());
        assert_eq!(second, Ok(SENT));
        assert_eq!(far.asked.lock().unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_told_of_only_where_it_is_news() {
        let (far, gate) = gate();
        let key = secret();
        assert_eq!(asks(&gate, Purpose::Act).await, Ok(SENT));
        assert_eq!(gate.tell(&key, SENT, Heard::Answered).await, None);
        assert_eq!(far.asked.lock().unwrap().len(), 1, "nobody listens");
        gate.tell(&key, SENT, Heard::Ambiguous).await;
        gate.tell(&key, SENT, Heard::Answered).await;
        assert_eq!(far.asked.lock().unwrap().len(), 3);
        assert!(!far.bucket.lock().unwrap().listens(), "the row is broken");
        let wait = gate.tell(&key, SENT, Heard::NotSent).await;
        assert_eq!(wait, Some(Duration::from_secs(1)), "until the first probe");
        assert_eq!(asks(&gate, Purpose::Act).await, Err(Closed { wait }));
    }
}
