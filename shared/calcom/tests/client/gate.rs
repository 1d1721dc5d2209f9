//! Every request passes the gate, and the gate hears what came of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use calcom::{Client, Closed, Gate, ListQuery, Soon};
use domain::answer::{Ambiguity, Answer, LookFailure};
use domain::budget::{Heard, Pass, Purpose};
use secrecy::SecretString;
use tokio::net::TcpListener;

use crate::peer::{Peer, on_the_wire, reply};
use crate::{COMPANY, ask, at, booking, key, markers, settings, soon, success, uid};

/// Answers from a script, then lets everything pass; remembers what it was asked and told.
#[derive(Default)]
pub struct Doorman {
    script: Mutex<VecDeque<(Duration, Result<Pass, Closed>)>>,
    asked: Mutex<Vec<Purpose>>,
    told: Mutex<Vec<Heard>>,
    /// What it says when it is told something.
    wait: Option<Duration>,
}

impl Gate for Doorman {
    fn ask<'a>(&'a self, _key: &'a SecretString, purpose: Purpose) -> Soon<'a, Result<(Pass, Instant), Closed>> {
        self.asked.lock().unwrap().push(purpose);
        let (takes, answer) =
            self.script.lock().unwrap().pop_front().unwrap_or((Duration::ZERO, Ok(Pass { probe: None })));
        let since = Instant::now();
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            answer.map(|pass| (pass, since))
        })
    }

    fn tell<'a>(&'a self, _key: &'a SecretString, _pass: Pass, heard: Heard) -> Soon<'a, Option<Duration>> {
        self.told.lock().unwrap().push(heard);
        Box::pin(std::future::ready(self.wait))
    }
}

impl Doorman {
    fn says(script: impl IntoIterator<Item = (Duration, Result<Pass, Closed>)>) -> Arc<Self> {
        Arc::new(Self { script: Mutex::new(script.into_iter().collect()), ..Self::default() })
    }

    fn asked(&self) -> Vec<Purpose> {
        self.asked.lock().unwrap().clone()
    }

    fn told(&self) -> Vec<Heard> {
        self.told.lock().unwrap().clone()
    }
}

fn behind(doorman: &Arc<Doorman>, base_url: String) -> Client {
    Client::new(settings(base_url), doorman.clone()).unwrap()
}

async fn create(client: &Client) -> Answer {
    client.create(&key(), &ask(), &markers(), soon()).await
}

fn query() -> ListQuery {
    ListQuery::Window { event_type_id: 123, from: at("2050-09-05T08:59:00Z"), to: at("2050-09-05T09:31:00Z") }
}

#[tokio::test]
async fn whoever_is_not_let_out_sends_nothing_and_knows_how_long() {
    let peer = Peer::answering([reply(201, success(booking()))]).await;
    for wait in [None, Some(Duration::from_secs(31))] {
        let doorman = Doorman::says(std::iter::repeat_n((Duration::ZERO, Err(Closed { wait })), 5));
        let client = behind(&doorman, peer.url.clone());
        assert_eq!(create(&client).await, Answer::NotSent { wait });
        assert_eq!(client.cancel(&key(), &uid(), "", &markers(), COMPANY, soon()).await, Answer::NotSent { wait });
        let start = at("2050-09-06T13:00:00Z");
        let moved = client.reschedule(&key(), &uid(), start, "", &markers(), COMPANY, soon()).await;
        assert_eq!(moved, Answer::NotSent { wait });
        assert_eq!(client.get(&key(), &uid(), &markers(), COMPANY).await, Err(LookFailure::NotSent { wait }));
        assert_eq!(client.list(&key(), &query(), &markers(), COMPANY).await, Err(LookFailure::NotSent { wait }));
        assert_eq!(doorman.asked().len(), 5);
        assert!(doorman.told().is_empty(), "of what was not sent nothing was heard");
    }
    assert!(peer.asked().is_empty());
}

#[tokio::test]
async fn each_request_asks_for_itself_and_says_what_for() {
    let page = |more| {
        let data = serde_json::json!({"status": "success", "data": [booking()], "pagination": {"hasNextPage": more}});
        reply(200, data.to_string())
    };
    let peer = Peer::answering([reply(201, success(booking())), page(true), page(false)]).await;
    let doorman = Doorman::says([]);
    let client = behind(&doorman, peer.url.clone());
    assert!(matches!(create(&client).await, Answer::Applied(_)));
    let listed = client.sweeping().list(&key(), &query(), &markers(), COMPANY).await;
    assert_eq!(listed.unwrap().len(), 2);
    assert_eq!(doorman.asked(), [Purpose::Act, Purpose::Sweep, Purpose::Sweep], "a list asks for each page");
    let _page_is_no_booking = client.get(&key(), &uid(), &markers(), COMPANY).await;
    let _nor_this = client.sweeping().cancel(&key(), &uid(), "", &markers(), COMPANY, soon()).await;
    assert_eq!(doorman.asked()[3..], [Purpose::Look, Purpose::Act], "who sweeps may act, too");
    assert_eq!((doorman.told(), peer.asked().len()), (vec![Heard::Answered; 5], 5));
}

#[tokio::test]
async fn a_pass_that_comes_too_late_is_not_used() {
    let peer = Peer::answering([reply(201, success(booking()))]).await;
    let late = (Duration::from_millis(1_200), Ok(Pass { probe: None }));
    let doorman = Doorman::says([late]);
    assert!(matches!(create(&behind(&doorman, peer.url.clone())).await, Answer::Applied(_)));
    assert_eq!(doorman.asked().len(), 2, "asked anew");

    let doorman = Doorman::says([(Duration::from_secs(60), Ok(Pass { probe: None }))]);
    let deadline = Instant::now() + Duration::from_millis(300);
    let answer = behind(&doorman, peer.url.clone()).create(&key(), &ask(), &markers(), deadline).await;
    assert_eq!(answer, Answer::NotSent { wait: None }, "a gate that does not answer ends nobody's deadline");
    peer.asked_once();
}

#[tokio::test]
async fn the_gate_hears_what_came_of_it() {
    let refused = serde_json::json!({"status": "error", "error": {"message": "no_available_users_found_error"}});
    let mut throttled = reply(429, "{}");
    throttled.headers.push(("x-ratelimit-reset-default", "12".to_owned()));
    let answers = [
        (reply(201, success(booking())), Heard::Answered),
        (reply(400, refused.to_string()), Heard::Answered),
        (reply(404, "<html>"), Heard::Answered),
        (throttled, Heard::Throttled(Duration::from_secs(12))),
        (reply(502, ""), Heard::Ambiguous),
        (reply(302, ""), Heard::Ambiguous),
    ];
    let doorman = Doorman::says([]);
    for (reply, heard) in answers {
        let peer = Peer::answering([reply]).await;
        create(&behind(&doorman, peer.url.clone())).await;
        assert_eq!(doorman.told().last(), Some(&heard));
    }
    let (url, _) = on_the_wire(|stream| async move { drop(stream) }).await;
    assert_eq!(create(&behind(&doorman, url)).await, Answer::Unknown { why: Ambiguity::Reset });
    assert_eq!(doorman.told().last(), Some(&Heard::Ambiguous));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = format!("http://{}/v2", listener.local_addr().unwrap());
    drop(listener);
    let wait = Some(Duration::from_secs(4));
    let doorman = Arc::new(Doorman { wait, ..Doorman::default() });
    assert_eq!(create(&behind(&doorman, away)).await, Answer::NotSent { wait }, "the next probe is not earlier");
    assert_eq!(doorman.told(), [Heard::NotSent]);
    let peer = Peer::answering([reply(502, "")]).await;
    let looked = behind(&doorman, peer.url.clone()).get(&key(), &uid(), &markers(), COMPANY).await;
    assert_eq!(looked, Err(LookFailure::NoAnswer { wait }), "nor is the next look");
}
