//! Which models a key may use: the call is left those, or turned away.

use std::sync::Arc;

use filature_billing::KeyRecord;
use filature_openapi::call::CallView;

use super::Admitted;
use crate::app::App;
use crate::reject::Reject;
use crate::request::Call;
use crate::request::auth::{self, Caller};

/// Leaves a call only the models that its key may use. A key whose record is old is looked up only where that would leave
/// some of them out: otherwise [`confirm`] asks while the ledger reserves.
///
/// # Errors
/// [`Reject::ModelNotAllowed`] if that is none of them, [`Reject::LedgerUnavailable`] if the ledger cannot be asked.
pub async fn allow(app: &App, view: &mut CallView, mut caller: Caller) -> Result<Caller, Reject> {
    let mut models = std::iter::once(&view.model).chain(&view.fallbacks);
    if caller.stale.is_some() && !models.all(|model| caller.key.limits.allows(model)) {
        let key = auth::renewed(app, &caller.key, caller.stale.take()).await?;
        caller.key = key.unwrap_or(caller.key);
    }
    confine(view, &caller.key)?;
    Ok(caller)
}

fn confine(view: &mut CallView, key: &KeyRecord) -> Result<(), Reject> {
    if view.confine(|model| key.limits.allows(model)) {
        Ok(())
    } else {
        Err(Reject::ModelNotAllowed(view.model.to_string()))
    }
}

/// Confines a call that was let in to what is known of its key by now.
///
/// # Errors
/// [`Reject::ModelNotAllowed`] if none of its models, or none that the plan has, is allowed any more.
pub fn confirm(call: &mut Call, admitted: &mut Admitted, key: Option<Arc<KeyRecord>>) -> Result<(), Reject> {
    let Some(key) = key else { return Ok(()) };
    confine(&mut call.view, &key)?;
    let attempts = &mut admitted.plan.attempts;
    attempts.retain(|attempt| key.limits.allows(attempt.model.as_str()));
    if attempts.is_empty() {
        return Err(Reject::ModelNotAllowed(call.view.model.to_string()));
    }
    Ok(())
}
