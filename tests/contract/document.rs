//! Whether a file is a document that can be checked against: OpenAPI in JSON, with every operation that we use.
//! Deliberately absent: its meaning, which is Prism's business.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::verdict::Endpoint;

/// # Errors
/// Says what is wrong with the file.
pub(crate) fn read(spec: &Path) -> anyhow::Result<()> {
    let shown = spec.display();
    let bytes = fs::read(spec).with_context(|| format!("SPEC.json cannot be read: {shown}"))?;
    let document = serde_json::from_slice(&bytes).with_context(|| format!("SPEC.json is no JSON: {shown}"))?;
    describes_what_we_use(&document).with_context(|| format!("SPEC.json is not Cal.com's OpenAPI: {shown}"))
}

fn describes_what_we_use(document: &Value) -> anyhow::Result<()> {
    ensure!(document["openapi"].is_string(), "it has no `openapi`");
    let Some(paths) = document["paths"].as_object() else { bail!("it has no `paths`") };
    for endpoint in Endpoint::ALL {
        let (method, path) = (endpoint.method().as_str().to_lowercase(), endpoint.path());
        let described = paths.iter().any(|(it, operations)| same_path(it, path) && operations.get(&method).is_some());
        ensure!(described, "it does not describe {endpoint}");
    }
    Ok(())
}

/// Parameters may have any name.
fn same_path(one: &str, other: &str) -> bool {
    let segments = |path: &str| -> Vec<String> {
        let nameless = |segment: &str| if segment.starts_with('{') { "{}".to_owned() } else { segment.to_owned() };
        path.split('/').map(nameless).collect()
    };
    segments(one) == segments(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({"openapi": "3.0.0", "paths": {
            "/v2/bookings": {"get": {}, "post": {}},
            "/v2/bookings/{bookingUid}": {"get": {}},
            "/v2/bookings/{bookingUid}/cancel": {"post": {}},
            "/v2/bookings/{bookingUid}/reschedule": {"post": {}},
        }})
    }

    #[test]
    fn a_document_has_every_operation_that_we_use() {
        describes_what_we_use(&document()).unwrap();
        let why = |document: Value| describes_what_we_use(&document).unwrap_err().to_string();
        assert_eq!(why(json!([])), "it has no `openapi`");
        assert_eq!(why(json!({"openapi": "3.0.0"})), "it has no `paths`");
        let mut without = document();
        without["paths"]["/v2/bookings"] = json!({"post": {}});
        assert_eq!(why(without), "it does not describe GET /v2/bookings");
        let mut elsewhere = document();
        elsewhere["paths"].as_object_mut().unwrap().remove("/v2/bookings/{bookingUid}/cancel");
        elsewhere["paths"]["/v2/bookings/{bookingUid}/decline"] = json!({"post": {}});
        assert_eq!(why(elsewhere), "it does not describe POST /v2/bookings/{uid}/cancel");
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let folder = std::env::temp_dir().join(format!("contract-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("spec.json");
        let why = || format!("{:#}", read(&path).unwrap_err());
        assert!(why().starts_with("SPEC.json cannot be read: "), "{}", why());
        fs::write(&path, "openapi: 3.0.0").unwrap();
        assert!(why().starts_with("SPEC.json is no JSON: "), "{}", why());
        fs::write(&path, "{}").unwrap();
        assert!(why().starts_with("SPEC.json is not Cal.com's OpenAPI: "), "{}", why());
        fs::write(&path, document().to_string()).unwrap();
        read(&path).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
