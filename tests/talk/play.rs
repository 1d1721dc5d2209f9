//! Plays a conversation in a world of its own and judges every reply and the end.

use crate::day::dated;
use crate::salon;
use crate::script::{Conversation, Expected, Step};
use chrono::{DateTime, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Europe::Berlin;
use harness::{Answer, Api, BRANCH_PHONE, Setup, World, retell_signature};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What else happens to each request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Twist {
    Plain,
    /// It is sent twice at once.
    Doubled,
    /// It is sent again when it is answered.
    Repeated,
}

impl Twist {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Doubled, Self::Repeated];
}

pub struct Played {
    /// As somebody would tell it.
    pub dialogue: String,
    /// What was not as the file says.
    pub wrong: Vec<String>,
}

struct Table {
    world: World,
    api: Api,
    twist: Twist,
    call_id: String,
    from: String,
    replies: Vec<Value>,
    remembered: BTreeMap<String, String>,
    told: Played,
}

pub async fn play(conversation: &Conversation, twist: Twist) -> Played {
    let world = World::of(Setup { staff: 3, ..Setup::default() }).await;
    salon::open(&world);
    let patient = [("ASKPRO_VOICE_WAIT_MS", "25000".to_owned()), ("ASKPRO_LEGACY_COMPANY", "salon".to_owned())];
    let api = world.api_with(&patient).await;
    world.hears(&api).await;
    let worker = world.worker(None);
    let told = Played { dialogue: format!("{}\n", conversation.title), wrong: vec![] };
    let mut table = Table {
        world,
        api,
        twist,
        call_id: String::new(),
        from: "anonymous".to_owned(),
        replies: vec![],
        remembered: BTreeMap::new(),
        told,
    };
    for step in &conversation.steps {
        table.take(step).await;
    }
    let Table { world, api, told, .. } = table;
    drop((api, worker));
    if told.wrong.is_empty() {
        let others = world.live().iter().filter(|booking| booking.marker().is_none()).count();
        world.at_rest_beside(others).await;
    } else {
        world.gone().await;
    }
    told
}

impl Table {
    async fn take(&mut self, step: &Step) {
        match step {
            Step::Caller(number) => {
                self.call_id = format!("call_{}", Uuid::now_v7().simple());
                self.from = number.clone();
                self.tell(format!(
                    "A call from {}.",
                    if number == "anonymous" { "a withheld number" } else { "a number" }
                ));
            }
            Step::Function { name, args } => {
                let path = format!("/retell/salon/functions/{name}");
                self.ask(&path, name, args).await;
            }
            Step::Post { path, args } => self.ask(path, path, args).await,
            Step::Expect { field, what } => self.expect(field, what),
            Step::Remember { name, field } => {
                let value = self.replies.last().and_then(|reply| at(reply, field)).map(plain);
                self.remembered.insert(name.clone(), value.unwrap_or_default());
            }
            Step::Event { name, fields } => self.event(name, fields).await,
            Step::Business(words) => self.business(&words.iter().map(String::as_str).collect::<Vec<_>>()).await,
            Step::Settle => self.world.calm().await,
            Step::End { what, value } => self.end(what, value).await,
        }
    }

    async fn ask(&mut self, path: &str, name: &str, args: &str) {
        let args: Value = serde_json::from_str(&self.filled(args)).unwrap_or_else(|error| panic!("{args}: {error}"));
        self.tell(format!("  agent    {name} {args}"));
        let call = json!({"call_id": self.call_id, "from_number": self.from, "to_number": BRANCH_PHONE});
        let mut body = json!({"call": call, "args": args});
        if path.starts_with("/retell/salon") {
            body["name"] = name.into();
        }
        let send = || post(&self.api, path, &body);
        let answers = match self.twist {
            Twist::Plain => vec![send().await],
            Twist::Doubled => {
                let (one, other) = tokio::join!(send(), send());
                vec![one, other]
            }
            Twist::Repeated => vec![send().await, send().await],
        };
        self.replies.clear();
        for answer in answers {
            if answer.status != 200 {
                self.told.wrong.push(format!("{name}: HTTP {}: {}", answer.status, answer.body));
            }
            self.replies.push(answer.body);
        }
        let reply = self.replies.last().cloned().unwrap_or_default();
        self.tell(format!("  gateway  {}: {}", plain(&reply["status"]), plain(&reply["message"])));
    }

    fn expect(&mut self, field: &str, what: &Expected) {
        for reply in &self.replies {
            let found = at(reply, field).filter(|value| !value.is_null());
            let as_told = match what {
                Expected::Is(word) => {
                    let word = self.filled(word);
                    found.is_some_and(|found| {
                        plain(found) == word || serde_json::from_str(&word).is_ok_and(|v: Value| v == *found)
                    })
                }
                Expected::Contains(part) => found.is_some_and(|found| plain(found).contains(&self.filled(part))),
                Expected::Something => found.is_some(),
                Expected::Nothing => found.is_none(),
            };
            if !as_told {
                let wanted = match what {
                    Expected::Is(word) | Expected::Contains(word) => self.filled(word),
                    Expected::Something => "something".to_owned(),
                    Expected::Nothing => "nothing".to_owned(),
                };
                self.told.wrong.push(format!("{field}: {found:?} instead of {wanted}, in {reply}"));
            }
        }
    }

    async fn event(&mut self, name: &str, fields: &str) {
        let mut call = json!({"call_id": self.call_id, "from_number": self.from, "to_number": BRANCH_PHONE, "direction": "inbound"});
        let fields: Value = serde_json::from_str(&self.filled(fields)).unwrap();
        fields.as_object().unwrap().iter().for_each(|(field, value)| call[field] = value.clone());
        let body = json!({"event": name, "call": call});
        let times = if self.twist == Twist::Plain { 1 } else { 2 };
        for _ in 0..times {
            let answer = post(&self.api, "/retell/salon/webhook", &body).await;
            if !(200..300).contains(&answer.status) {
                self.told.wrong.push(format!("{name}: HTTP {}: {}", answer.status, answer.body));
            }
        }
        self.tell(format!("  Retell   {name}"));
    }

    async fn business(&mut self, words: &[&str]) {
        self.world.calm().await;
        let instant = |day: &str, time: &str| {
            let wall = format!("{} {time}", dated(day));
            let wall = NaiveDateTime::parse_from_str(&wall, "%d.%m.%Y %H:%M").unwrap();
            Berlin.from_local_datetime(&wall).unwrap().with_timezone(&Utc)
        };
        match words {
            ["cancels"] => {
                let uid = self.world.live().first().expect("a live booking").uid.clone();
                self.world.sandbox.cancel_by_others(&uid).await.unwrap();
            }
            ["moves", day, time] => {
                let uid = self.world.live().first().expect("a live booking").uid.clone();
                self.world.sandbox.reschedule_by_others(&uid, instant(day, time)).await.unwrap();
            }
            ["books", day, time, event_type] => self.book(event_type, instant(day, time)).await,
            _ => panic!("the business does what? {words:?}"),
        }
        self.world.calm().await;
        self.tell(format!("  business {}", words.join(" ")));
    }

    async fn book(&self, event_type: &str, start: DateTime<Utc>) {
        let attendee = json!({"name": "Klara Vogel", "email": "klara@salon.test", "timeZone": "Europe/Berlin"});
        let event_type: i64 = event_type.parse().unwrap();
        let body = json!({"eventTypeId": event_type, "start": start, "attendee": attendee});
        self.world.sandbox.create_by_others(&body).await.unwrap();
    }

    async fn end(&mut self, what: &str, value: &str) {
        self.world.calm().await;
        let count = async |sql: &'static str| self.world.count(sql).await.to_string();
        let found = match what {
            "live" => self.world.live().iter().filter(|b| b.marker().is_some()).count().to_string(),
            "status" => {
                let sql = "SELECT status FROM appointment ORDER BY created_at DESC LIMIT 1";
                let status: Option<String> = sqlx::query_scalar(sql).fetch_optional(&self.world.pool).await.unwrap();
                status.unwrap_or_default()
            }
            "starts" => {
                let sql = "SELECT starts_at FROM appointment ORDER BY created_at DESC LIMIT 1";
                let starts: Option<DateTime<Utc>> =
                    sqlx::query_scalar(sql).fetch_optional(&self.world.pool).await.unwrap();
                starts.map(|at| at.with_timezone(&Berlin).format("%d.%m.%Y %H:%M").to_string()).unwrap_or_default()
            }
            "callbacks" => count("SELECT count(*) FROM callback_request").await,
            "customers" => count("SELECT count(*) FROM customer").await,
            "appointments" => count("SELECT count(*) FROM appointment").await,
            _ => panic!("the end of what? {what}"),
        };
        let wanted = self.filled(value);
        if found != wanted {
            self.told.wrong.push(format!("at the end {what}: {found} instead of {wanted}"));
        }
        self.tell(format!("  in the end {what}: {found}"));
    }

    fn filled(&self, text: &str) -> String {
        let remembered = |text: String, (name, value): (&String, &String)| text.replace(&format!("{{{name}}}"), value);
        self.remembered.iter().fold(dated(text), remembered)
    }

    fn tell(&mut self, line: String) {
        self.told.dialogue.push_str(&line);
        self.told.dialogue.push('\n');
    }
}

async fn post(api: &Api, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let request = reqwest::Client::new().post(format!("{}{path}", api.url)).body(body.clone());
    let response = request.header("x-retell-signature", retell_signature(&body, 0)).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
    Answer { status, headers, body }
}

/// `alternatives.0.time`
fn at<'a>(reply: &'a Value, field: &str) -> Option<&'a Value> {
    reply.pointer(&format!("/{}", field.replace('.', "/")))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
