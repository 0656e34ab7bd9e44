//! The operations themselves, each a few lines over the [`Ledger`](filature_billing::Ledger).

mod accounts;
mod keys;
mod providers;
mod reading;
mod settlement;
mod withdrawals;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post, put};

use super::desk::Desk;
use super::refused::Refused;

/// The largest body an operation takes: all limits of a key at their longest stay below.
const BODY_BYTES_MAX: usize = 64 * 1024;

type AtDesk = State<Desk>;

/// The operations as a JSON API, for whoever sits at the desk: it asks for no key.
pub fn router(desk: Desk) -> Router {
    Router::new()
        .route("/accounts", post(accounts::create).get(accounts::list))
        .route("/accounts/{id}", get(accounts::show))
        .route("/accounts/{id}/credit", post(accounts::credit))
        .route("/accounts/{id}/usage", get(reading::usage))
        .route(
            "/accounts/{id}/withdrawals",
            post(withdrawals::ask).get(withdrawals::of_account),
        )
        .route(
            "/accounts/{id}/withdrawals/{withdrawal}/return",
            post(withdrawals::give_back),
        )
        .route("/withdrawals", get(withdrawals::open))
        .route("/uncredited", get(reading::uncredited))
        .route("/keys", post(keys::create).get(keys::list))
        .route("/keys/{id}", get(keys::show).patch(keys::update).delete(keys::revoke))
        .route("/providers", get(providers::list))
        .route("/providers/{id}", put(providers::say).delete(providers::forget))
        .route("/payouts", get(settlement::payouts))
        .route("/payouts/owed", get(settlement::owed))
        .route("/payees", get(settlement::payees))
        .route("/settlement/turn", put(settlement::turn))
        .route("/books", get(reading::books))
        .route("/audit", get(reading::audit))
        .fallback(async || Refused::NotFound("no such operation".to_owned()))
        .method_not_allowed_fallback(async || Refused::NotFound("no such operation".to_owned()))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(desk)
}

/// A name that people can read, and that cannot steer their terminals.
fn named(name: &str) -> Result<(), Refused> {
    if name.trim().is_empty() {
        return Err(Refused::Bad("a name must be printable text".to_owned()));
    }
    printable(name)
}

fn printable(name: &str) -> Result<(), Refused> {
    if name.chars().any(char::is_control) {
        return Err(Refused::Bad("a name must be printable text".to_owned()));
    }
    Ok(())
}
