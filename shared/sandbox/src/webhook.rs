//! Webhooks as Cal.com sends them: who wants to hear of what, how deliveries are disturbed, and what became of each.
//! Pure values: deliberately absent are what a webhook says (payload.rs) and the sending (postman.rs). Of Cal.com's many
//! triggers only those five are here that tell of a booking made, moved, cancelled, confirmed or declined.

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::fault::DELAY_MAX_MS;

/// Most copies beyond the first that a plan may ask for.
const DUPLICATES_MAX: u32 = 100;

/// What a webhook tells of. In JSON as Cal.com writes it, e.g. `BOOKING_CREATED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Trigger {
    /// A booking is accepted: at once, or by its host's confirmation (then with the uid that BOOKING_REQUESTED had).
    BookingCreated,
    /// A booking is replaced by another one; there is no BOOKING_CANCELLED for the one replaced.
    BookingRescheduled,
    /// A booking is about to be cancelled: sent before the status is written.
    BookingCancelled,
    /// A booking waits for its host; of a reschedule that has to be confirmed, too.
    BookingRequested,
    /// The host has declined a booking.
    BookingRejected,
}

impl Trigger {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BookingCreated => "BOOKING_CREATED",
            Self::BookingRescheduled => "BOOKING_RESCHEDULED",
            Self::BookingCancelled => "BOOKING_CANCELLED",
            Self::BookingRequested => "BOOKING_REQUESTED",
            Self::BookingRejected => "BOOKING_REJECTED",
        }
    }
}

/// Somebody who wants to hear. Several may name one URL: each is told for itself, in a body of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Where to POST; `http` or `https`.
    pub url: String,
    /// Signs the body; with `None` or an empty one the signature is the text `no-secret-provided`.
    #[serde(default)]
    pub secret: Option<String>,
    /// What to tell; everything if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggers: Option<Vec<Trigger>>,
}

impl Subscription {
    pub(crate) fn wants(&self, trigger: Trigger) -> bool {
        self.triggers.as_ref().is_none_or(|triggers| triggers.contains(&trigger))
    }

    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let url: Url = self.url.parse().context("webhook: the url cannot be read")?;
        ensure!(matches!(url.scheme(), "http" | "https"), "webhook: the url must begin with http:// or https://");
        Ok(())
    }
}

/// When a webhook is sent that no plan delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Within the request that causes it, which waits for the answer: its own reply comes after that.
    #[default]
    Inline,
    /// When the reply of that request has met its fate.
    After,
}

/// How deliveries are disturbed. The default disturbs none. Every copy for every subscription draws its own lots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookPlan {
    /// Seed of the lots: the same seed, the same course. `None` takes the sandbox's own seed, or a random one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// When undelayed copies are sent.
    pub mode: Mode,
    /// Copies beyond the first, byte for byte the same, 0 to 100.
    pub duplicates: u32,
    /// If not 0: every copy waits for a time between 0 and so many milliseconds (at most 600,000), by lot, outside of the
    /// request, whatever the mode; so they arrive in any order.
    pub delay_ms_max: u64,
    /// Share of the copies that are never sent, 0 to 1.
    pub drop: f64,
}

impl WebhookPlan {
    /// # Errors
    /// Says which part is out of range.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.duplicates <= DUPLICATES_MAX, "webhook plan: duplicates must be at most {DUPLICATES_MAX}");
        ensure!(self.delay_ms_max <= DELAY_MAX_MS, "webhook plan: delay_ms_max must be at most {DELAY_MAX_MS}");
        ensure!((0.0..=1.0).contains(&self.drop), "webhook plan: drop must lie between 0 and 1");
        Ok(())
    }
}

/// One copy of one webhook for one subscription, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// 1, 2, 3 … without gaps, in the order of what they tell.
    pub seq: u64,
    /// What it tells.
    pub trigger: Trigger,
    /// The booking that it is about: of a reschedule, the new one.
    pub uid: String,
    /// Which subscription it is for: 0, 1, 2 … as they were set.
    pub subscription: usize,
    /// 0 for the first copy, 1, 2, 3 … for its duplicates.
    pub copy: u32,
    /// When the booking changed (BOOKING_CANCELLED: when it was about to).
    pub at: DateTime<Utc>,
    /// How long the plan delays it; `None` if it is sent by the mode.
    pub delay_ms: Option<u64>,
    /// When it was sent; `None` if not yet, or never.
    pub sent_at: Option<DateTime<Utc>>,
    /// HTTP status of the answer. Anything is as good as 200: nothing is sent again.
    pub status: Option<u16>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Not sent yet, or not answered yet.
    Outstanding,
    /// Answered, with whatever status.
    Answered,
    /// Never sent, by the plan.
    Dropped,
    /// Sent, and not answered within 5 s, or nobody there.
    Failed,
}
