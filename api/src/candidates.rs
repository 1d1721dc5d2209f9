//! Several times that would do, of which the first that is free is booked: `any_of` of a body.

use chrono::{DateTime, FixedOffset, Utc};
use serde::Deserialize;
use store::Candidate;
use utoipa::ToSchema;

use crate::appointments::read_start;
use crate::fields::Fields;
use crate::problem::Problem;

/// Times in one wish.
pub(crate) const CANDIDATES_MAX: usize = 20;

/// A time that would do.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CandidateTime {
    /// When, with offset, on a whole minute.
    starts_at: DateTime<FixedOffset>,
    /// With whom; absent = as the wish itself says.
    staff_id: Option<i32>,
}

/// `any_of` of a body; `None` = it is not there.
pub(crate) fn any_of(fields: &mut Fields) -> Result<Option<Vec<CandidateTime>>, Problem> {
    let Some(objects) = fields.optional_objects("any_of", CANDIDATES_MAX)? else { return Ok(None) };
    let read = |mut one: Fields| {
        let (starts_at, staff_id) = (read_start(&mut one)?, one.optional_id("staff_id")?);
        one.finish()?;
        Ok(CandidateTime { starts_at, staff_id })
    };
    objects.into_iter().map(read).collect::<Result<_, _>>().map(Some)
}

impl CandidateTime {
    /// The only time of a wish without `any_of`.
    pub(crate) fn only(starts_at: DateTime<FixedOffset>) -> Self {
        Self { starts_at, staff_id: None }
    }

    /// `staff_id`: whom the wish itself names.
    pub(crate) fn candidate(&self, staff_id: Option<i32>) -> Candidate {
        Candidate { staff_id: self.staff_id.or(staff_id), starts_at: self.starts_at.with_timezone(&Utc) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(list: Value) -> Result<Vec<Candidate>, &'static str> {
        let mut fields = Fields::parse(json!({ "any_of": list }).to_string().as_bytes()).unwrap();
        let read = any_of(&mut fields).map_err(|problem| problem.code())?.unwrap();
        Ok(read.iter().map(|time| time.candidate(Some(9))).collect())
    }

    #[test]
    fn a_list_of_times_is_read_strictly() {
        let ten = "2026-11-25T10:00:00+01:00";
        let both = read(json!([{"starts_at": ten}, {"starts_at": ten, "staff_id": 2}])).unwrap();
        assert_eq!(both.iter().map(|c| c.staff_id).collect::<Vec<_>>(), [Some(9), Some(2)]);
        assert_eq!(both[0].starts_at.to_rfc3339(), "2026-11-25T09:00:00+00:00");
        let twenty_one: Vec<_> = (0..21).map(|_| json!({ "starts_at": ten })).collect();
        for wrong in [json!([]), json!({}), json!([ten]), json!([{"starts_at": "morgen"}]), json!(twenty_one)] {
            assert_eq!(read(wrong.clone()), Err("invalid_field"), "{wrong}");
        }
        assert_eq!(read(json!([{}])), Err("missing_field"));
        assert_eq!(read(json!([{"starts_at": ten, "at": 1}])), Err("unknown_field"));
    }
}
