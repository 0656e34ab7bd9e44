//! Where providers are paid: takes note of the address in an offer, or in the operator's settings, for all gateways of the
//! ledger. When a change counts is decided in [`filature_billing::settle`].

use anyhow::{Context as _, bail};
use filature_billing::ProviderId;
use filature_billing::chain::{Address, BadAddress};
use filature_billing::settle::{Named, note_payout};

use crate::app::App;
use crate::clock::now_ms;
use crate::config::SettlementSettings;
use crate::fleet::direct;

/// Why nobody is paid at an address.
#[derive(Debug, thiserror::Error)]
enum BadPayout {
    #[error(transparent)]
    Address(#[from] BadAddress),
    #[error("it is this gateway's own: what is sent there is not the provider's")]
    Own,
}

/// Takes note of the address in a provider's offer with this sequence number. The provider must have signed it.
///
/// # Errors
/// For the provider: nobody can be paid there, or the ledger does not answer.
pub async fn note_offered(app: &App, provider: &ProviderId, sequence: u64, payout: &str) -> anyhow::Result<()> {
    let settlement = &app.config.settlement;
    if settlement.contract.is_none() {
        return Ok(());
    }
    let address = match read(settlement, payout) {
        Ok(address) => address,
        Err(error) => {
            app.metrics.payout_address("refused");
            bail!("the offer's payout address {payout:?} cannot be paid: {error}");
        }
    };
    let delay_ms = settlement.payout_delay_s.saturating_mul(1000);
    let noted = note_payout(&*app.ledger, provider, (sequence, address), now_ms(), delay_ms).await;
    let noted = noted.context("the ledger cannot note the offer's payout address now")?;
    tell(app, provider, noted);
    Ok(())
}

/// Takes note of the addresses of the operator's own providers. What the operator writes counts at once.
pub async fn note_configured(app: &App) {
    if app.config.settlement.contract.is_none() {
        return;
    }
    let providers = app.config.providers.iter();
    let named = providers.filter_map(|one| Some((one.payout.as_ref()?, direct::payee(&one.name).ok()?)));
    for (payout, provider) in named {
        let address = match read(&app.config.settlement, payout) {
            Ok(address) => address,
            Err(error) => {
                app.metrics.payout_address("refused");
                tracing::error!(%provider, payout, %error, "nobody can be paid at this address");
                continue;
            }
        };
        let now_ms = now_ms();
        match note_payout(&*app.ledger, &provider, (now_ms, address), now_ms, 0).await {
            Ok(Named::Nothing) => {}
            // A change that waits for no time counts at once.
            Ok(Named::Now(_) | Named::From(..)) => tell(app, &provider, Named::Now(address)),
            Err(error) => tracing::warn!(%provider, %error, "its payout address could not be noted"),
        }
    }
}

fn read(settlement: &SettlementSettings, payout: &str) -> Result<Address, BadPayout> {
    let address = Address::parse(payout, settlement.network)?.address;
    let own = [&settlement.contract, &settlement.deposit_address];
    let own = own.into_iter().flatten();
    let mut own = own.filter_map(|own| Address::parse(own, settlement.network).ok());
    if own.any(|own| own.address == address) {
        return Err(BadPayout::Own);
    }
    Ok(address)
}

fn tell(app: &App, provider: &ProviderId, noted: Named) {
    match noted {
        Named::Nothing => {}
        Named::Now(address) => {
            app.metrics.payout_address("named");
            tracing::info!(%provider, %address, "a provider is paid here from now on");
        }
        Named::From(address, from_ms) => {
            app.metrics.payout_address("changed");
            tracing::warn!(%provider, %address, from_ms, "a provider changes where it is paid; the change waits");
        }
    }
}
