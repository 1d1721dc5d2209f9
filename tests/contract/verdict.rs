//! What Prism said of one exchange. Pure. Deliberately absent: whether that was expected.

use std::fmt;

use axum::http::Method;
use serde_json::Value;

/// What we use of Cal.com.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    Create,
    List,
    Get,
    Cancel,
    Reschedule,
}

impl Endpoint {
    pub(crate) const ALL: [Self; 5] = [Self::Create, Self::List, Self::Get, Self::Cancel, Self::Reschedule];

    /// Whose request this is.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix("/v2/bookings")?.split('/').skip(1).collect();
        match (method, segments.as_slice()) {
            (&Method::POST, []) => Some(Self::Create),
            (&Method::GET, []) => Some(Self::List),
            (&Method::GET, [_]) => Some(Self::Get),
            (&Method::POST, [_, "cancel"]) => Some(Self::Cancel),
            (&Method::POST, [_, "reschedule"]) => Some(Self::Reschedule),
            _ => None,
        }
    }

    pub(crate) fn method(self) -> Method {
        match self {
            Self::Create | Self::Cancel | Self::Reschedule => Method::POST,
            Self::List | Self::Get => Method::GET,
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Create | Self::List => "/v2/bookings",
            Self::Get => "/v2/bookings/{uid}",
            Self::Cancel => "/v2/bookings/{uid}/cancel",
            Self::Reschedule => "/v2/bookings/{uid}/reschedule",
        }
    }

    /// What comes back if all is well, and whatever else we know of: each must have been seen.
    pub(crate) fn statuses(self) -> &'static [u16] {
        match self {
            Self::Create | Self::Reschedule => &[201, 400, 401, 404, 409, 429, 500],
            Self::List => &[200, 401, 429, 500],
            Self::Get => &[200, 401, 404, 429, 500],
            Self::Cancel => &[200, 400, 401, 404, 429, 500],
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.method(), self.path()))
    }
}

/// What is against the document, or that nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As the document has it.
    Conforms,
    /// The document has no answer of this status, so nobody can say what is wrong with it.
    NotDescribed,
    /// The request is against the document.
    WrongRequest(String),
    /// The answer is.
    WrongAnswer(String),
}

/// What came back through Prism.
pub(crate) struct Said<'a> {
    pub(crate) status: u16,
    /// `content-type`.
    pub(crate) media_type: &'a str,
    /// `sl-violations`.
    pub(crate) violations: Option<&'a str>,
    pub(crate) body: &'a [u8],
    /// Whether the request got as far as the sandbox.
    pub(crate) passed_on: bool,
}

impl Said<'_> {
    /// Prism passes on nothing that is against the document. Where that describes an answer for it Prism gives that one,
    /// so that only the silence behind Prism tells; and an answer against it is replaced by Prism's own.
    pub(crate) fn verdict(&self) -> Verdict {
        let own = self.media_type.starts_with("application/problem+json");
        let complaints = self.complaints();
        if !self.passed_on || complaints.iter().any(|complaint| complaint.starts_with("request.")) {
            return Verdict::WrongRequest(self.why(&complaints));
        }
        if own || !complaints.is_empty() {
            return Verdict::WrongAnswer(self.why(&complaints));
        }
        if self.violations.is_some() { Verdict::NotDescribed } else { Verdict::Conforms }
    }

    /// What the header has, except for a warning about the answer: the only one is that its status is not described.
    fn complaints(&self) -> Vec<String> {
        let Some(header) = self.violations else { return Vec::new() };
        let Ok(Value::Array(all)) = serde_json::from_str(header) else { return vec![header.to_owned()] };
        let not_described = |it: &&Value| it["severity"] == "Warning" && it["location"][0] == "response";
        all.iter().filter(|it| !not_described(it)).map(line).collect()
    }

    fn why(&self, complaints: &[String]) -> String {
        if !complaints.is_empty() {
            return complaints.join("; ");
        }
        let problem: Value = serde_json::from_slice(self.body).unwrap_or_default();
        let listed: Vec<String> = problem["validation"].as_array().into_iter().flatten().map(line).collect();
        if !listed.is_empty() {
            return listed.join("; ");
        }
        let detail = problem["detail"].as_str().or(problem["title"].as_str());
        detail.map_or_else(|| format!("status {}", self.status), str::to_owned)
    }
}

/// `query.status.0: must be …`
fn line(violation: &Value) -> String {
    let at: Vec<&str> = violation["location"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    format!("{}: {}", at.join("."), violation["message"].as_str().unwrap_or("no word about it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARNING: &str = r#"[{"location":["response"],"severity":"Warning","message":"Unable to match the status"}]"#;
    const ERROR: &str =
        r#"[{"location":["response","body","data"],"severity":"Error","message":"must have required property 'uid'"}]"#;

    fn said(status: u16, media_type: &str, violations: Option<&str>, body: &str, passed_on: bool) -> Verdict {
        Said { status, media_type, violations, body: body.as_bytes(), passed_on }.verdict()
    }

    #[test]
    fn what_prism_passes_unchanged_conforms() {
        assert_eq!(said(201, "application/json", None, "{}", true), Verdict::Conforms);
        assert_eq!(said(500, "application/json; charset=utf-8", None, "{}", true), Verdict::Conforms);
        assert_eq!(said(404, "application/json", Some(WARNING), "{}", true), Verdict::NotDescribed);
        let of_the_request = WARNING.replace("response\"", "request\",\"query\",\"sort\"");
        let wrong = Verdict::WrongRequest("request.query.sort: Unable to match the status".to_owned());
        assert_eq!(said(200, "application/json", Some(&of_the_request), "{}", true), wrong);
    }

    #[test]
    fn a_request_that_prism_keeps_is_wrong_whatever_it_answers() {
        let problem = r#"{"title":"Invalid request","status":422,"detail":"Your request is not valid","validation":
            [{"location":["query","status","0"],"severity":"Error","message":"must be equal to one of"}]}"#;
        let wrong = |why: &str| Verdict::WrongRequest(why.to_owned());
        let own = said(422, "application/problem+json", None, problem, false);
        assert_eq!(own, wrong("query.status.0: must be equal to one of"));
        // An answer that the document has for this.
        let declared = r#"{"status":"error","error":{"code":"BadRequestException","message":"taken"}}"#;
        assert_eq!(said(400, "application/json", None, declared, false), wrong("status 400"));
        assert_eq!(said(201, "application/json", None, "{}", false), wrong("status 201"));
        let no_path = r#"{"title":"Route not resolved, no path matched","status":404,"detail":"The route /v2/x"}"#;
        assert_eq!(said(404, "application/problem+json", None, no_path, false), wrong("The route /v2/x"));
    }

    #[test]
    fn an_answer_that_prism_replaces_or_complains_of_is_wrong() {
        let wrong = |why: &str| Verdict::WrongAnswer(why.to_owned());
        let uid = "response.body.data: must have required property 'uid'";
        let problem = r#"{"title":"Request/Response not valid","status":500,"detail":"--errors"}"#;
        assert_eq!(said(500, "application/problem+json", Some(ERROR), problem, true), wrong(uid));
        assert_eq!(said(200, "application/json", Some(ERROR), "{}", true), wrong(uid));
        assert_eq!(said(500, "application/problem+json", None, problem, true), wrong("--errors"));
        let cut = format!("Too many violations! {}", &ERROR[..20]);
        assert_eq!(said(200, "application/json", Some(&cut), "{}", true), wrong(&cut));
        assert_eq!(said(404, "application/problem+json", Some(WARNING), "", true), wrong("status 404"));
    }

    #[test]
    fn a_request_is_known_by_its_path() {
        for endpoint in Endpoint::ALL {
            let path = endpoint.path().replace("{uid}", "bfkkD7vGq3a9X2cWmRtYzP");
            assert_eq!(Endpoint::of(&endpoint.method(), &path), Some(endpoint));
        }
        for (method, path) in
            [(Method::GET, "/v2/slots"), (Method::POST, "/v2/bookings/x"), (Method::DELETE, "/v2/bookings")]
        {
            assert_eq!(Endpoint::of(&method, path), None, "{method} {path}");
        }
    }
}
