//! A retry of the agent may have lost its arguments and hold nothing but a call's id. Then it means what it said last to
//! this function in this call.
//!
//! Deliberately absent: the other functions of the call, other calls, and a failure: without the memory the agent is asked
//! back, as ever.

use serde_json::Value;

use crate::app::App;
use crate::arguments::Arguments;
use crate::functions::Function;

/// What the agent means by `args`: those, which are kept for its next retry, or in place of lost ones the last.
pub(crate) async fn meant(app: &App, company_id: i32, call_id: &str, function: Function, args: Arguments) -> Arguments {
    let name = function.name();
    if args.only_repeat(!function.only_reads()) {
        return match app.store.last_said(company_id, call_id, name).await {
            Ok(last) => last.map_or(args, |last| Arguments::of(Some(Value::String(last)))),
            Err(error) => {
                tracing::warn!(company_id, function = name, %error, "what was said before could not be read");
                args
            }
        };
    }
    if let Some(said) = args.written()
        && let Err(error) = app.store.remember_said(company_id, call_id, name, &said).await
    {
        tracing::warn!(company_id, function = name, %error, "what was said is not kept for a retry");
    }
    args
}
