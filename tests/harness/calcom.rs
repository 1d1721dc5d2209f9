//! The other side of a world: what Cal.com tells the API, what the business wants done with its own changes there, and
//! what became of an appointment by them.

use crate::{Api, World, wait_until};
use domain::id::AppointmentId;
use domain::observe::ExternalChanges;
use hmac::{Hmac, Mac};
use sandbox::{Booking, Effect, Subscription, What};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::Sha256;
use store::SecretKind;
use uuid::Uuid;

/// What signs Cal.com's webhooks.
pub const WEBHOOK_SECRET: &str = "whsec_of_the_salon";

/// One line of an appointment's history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub what: String,
    pub who: String,
    pub why: Option<String>,
}

impl World {
    /// From now on Cal.com tells this API of every change.
    pub async fn hears(&self, api: &Api) {
        let secret = SecretString::from(WEBHOOK_SECRET);
        self.store.set_secret(self.company.company_id, SecretKind::CalcomWebhook, &secret).await.unwrap();
        let url = format!("{}/calcom/webhook/salon", api.url);
        let told = Subscription { url, secret: Some(WEBHOOK_SECRET.to_owned()), triggers: None };
        self.sandbox.set_webhooks(vec![told]).unwrap();
    }

    /// Whose word counts when the business changes a booking of ours.
    pub async fn policy(&self, policy: ExternalChanges) {
        let sql = "UPDATE company SET external_changes = $1";
        sqlx::query(sql).bind(policy.as_str()).execute(&self.pool).await.unwrap();
    }

    /// From now on the business confirms what is booked.
    pub fn confirms_by_hand(&self) {
        let mut event_types = crate::salon::event_types(self.setup.staff);
        event_types.iter_mut().for_each(|event_type| event_type.requires_confirmation = true);
        self.sandbox.set_event_types(event_types).unwrap();
    }

    /// Waits until Cal.com has told everything, and everything that was to follow has followed.
    pub async fn calm(&self) {
        self.sandbox.webhooks_at_rest().await;
        self.rests().await;
    }

    /// The booking that the record has for an appointment, as it is at Cal.com.
    pub async fn booking(&self, id: AppointmentId) -> Option<Booking> {
        let sql = "SELECT calcom_uid FROM segment WHERE appointment_id = $1";
        let uid: Option<String> = sqlx::query_scalar(sql).bind(id.0).fetch_one(&self.pool).await.unwrap();
        uid.and_then(|uid| self.sandbox.bookings().into_iter().find(|booking| booking.uid == uid))
    }

    /// What a booking by somebody else at the time and with the host of the n-th wish says.
    pub async fn foreign(&self, n: u32) -> Value {
        let wish = self.wish(n).await;
        let attendee = json!({"name": "Klara Vogel", "email": "klara@example.com", "timeZone": "Europe/Berlin"});
        let event_type_id = i64::from(wish.staff_id.unwrap()) + 100;
        json!({"eventTypeId": event_type_id, "start": wish.starts_at, "attendee": attendee})
    }

    pub async fn history(&self, id: AppointmentId) -> Vec<Change> {
        let sql = "SELECT what, who, why FROM appointment_event WHERE appointment_id = $1 ORDER BY version";
        let rows: Vec<(String, String, Option<String>)> =
            sqlx::query_as(sql).bind(id.0).fetch_all(&self.pool).await.unwrap();
        rows.into_iter().map(|(what, who, why)| Change { what, who, why }).collect()
    }

    /// Why a person is to ring the customer, in order.
    pub async fn callbacks(&self, id: AppointmentId) -> Vec<String> {
        let sql = "SELECT reason FROM callback_request WHERE appointment_id = $1 ORDER BY created_at";
        sqlx::query_scalar(sql).bind(id.0).fetch_all(&self.pool).await.unwrap()
    }

    pub async fn sync(&self, id: AppointmentId) -> String {
        let sql = "SELECT sync FROM segment WHERE appointment_id = $1";
        sqlx::query_scalar(sql).bind(id.0).fetch_one(&self.pool).await.unwrap()
    }

    /// Waits until a person is to decide.
    pub async fn needs_review(&self, id: AppointmentId) {
        wait_until("a review", async || self.sync(id).await == "needs_review").await;
    }

    /// How the jobs that read what Cal.com told of have ended.
    pub async fn heard(&self) -> Vec<String> {
        let sql =
            "SELECT outcome FROM job WHERE kind = 'calcom_event' AND finished_at IS NOT NULL ORDER BY finished_at";
        sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap()
    }

    /// Requests to read that have reached Cal.com.
    pub fn reads(&self) -> usize {
        let reads = |e: &sandbox::Entry| e.what == What::Arrival && e.method == "GET";
        self.sandbox.ledger().into_iter().filter(reads).count()
    }

    /// Requests for free time that have reached Cal.com.
    pub fn asked_for_slots(&self) -> usize {
        let asks = |e: &sandbox::Entry| e.what == What::Arrival && e.path == "/v2/slots";
        self.sandbox.ledger().into_iter().filter(asks).count()
    }

    /// How often something had this effect at Cal.com, whoever did it.
    pub fn effects(&self, effect: Effect) -> usize {
        self.sandbox.ledger().into_iter().filter(|e| e.effect == Some(effect)).count()
    }

    /// Makes an appointment that Cal.com has confirmed.
    pub async fn scheduled(&self, n: u32) -> AppointmentId {
        let id = self.book(n).await;
        wait_until("the booking", async || self.status(id).await == "scheduled").await;
        id
    }

    /// A second company on the same server and at the same Cal.com, with other people and event types; its id.
    pub async fn another_company(&self) -> i32 {
        let mut spec = crate::salon::salon(1);
        (spec.slug, spec.name) = ("barber".to_owned(), "Barbier Abendrot".to_owned());
        spec.branches[0].phones = vec!["+493098765432".to_owned()];
        spec.staff[0].calcom_user_id = 901;
        spec.event_types[0].id = 902;
        let company_id = self.store.load_company(&spec).await.unwrap().company_id;
        let secret = SecretString::from("cal_of_another_company");
        self.store.set_secret(company_id, SecretKind::Calcom, &secret).await.unwrap();
        company_id
    }

    /// The marker that the bookings of an appointment bear.
    pub async fn marker(&self, id: AppointmentId) -> Value {
        json!(self.booking(id).await.unwrap().metadata)
    }
}

/// The signature of a webhook's body.
pub fn webhook_signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// A webhook of Cal.com's that no booking stands behind, each of its own.
pub fn made_up_webhook() -> String {
    let uid = Uuid::now_v7().simple();
    let payload = json!({"uid": uid.to_string(), "status": "ACCEPTED", "startTime": "2050-09-05T09:00:00Z"});
    json!({"triggerEvent": "BOOKING_CREATED", "createdAt": "2050-01-01T00:00:00.000Z", "payload": payload}).to_string()
}
