//! What owner and operator tell the contract: money, pauses, and who is who.

use clap::Args;
use filature_billing::Nano;
use filature_billing::settle::ContractOrder;

use super::terms::seconds;
use crate::cli::Failure;
use crate::cli::order::Sends;

/// An order without more to say.
#[derive(Args)]
pub(in crate::cli) struct Plain {
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(in crate::cli) struct Draw {
    /// How much, in TON. What the last anchor leaves unpaid, and what is contested, cannot be drawn.
    #[arg(value_name = "TON")]
    amount: Nano,
    /// Where it goes [default: the operator's wallet, the only place for the operator].
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(in crate::cli) struct Pause {
    /// For how long, such as 12h or 3d: at most what the terms allow.
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    seconds: u32,
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(in crate::cli) struct Limit {
    /// What the operator may draw on a UTC day, in TON.
    #[arg(value_name = "TON")]
    amount: Nano,
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(in crate::cli) struct Names {
    /// Whom: a wallet's address.
    #[arg(value_name = "ADDRESS")]
    who: String,
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(in crate::cli) struct Proposes {
    /// Whom: a wallet's address; `none` takes a proposal back.
    #[arg(value_name = "ADDRESS")]
    who: String,
    #[command(flatten)]
    sends: Sends,
}

impl Plain {
    pub(super) async fn run(&self, order: ContractOrder) -> Result<(), Failure> {
        let (reached, standing) = self.sends.begin().await?;
        self.sends.run(&reached, &standing, &order).await
    }
}

impl Draw {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let (reached, standing) = self.sends.begin().await?;
        let to = match &self.to {
            Some(to) => reached.address("--to", to)?,
            None => standing.parties.operator,
        };
        let amount = self.amount;
        self.sends
            .run(&reached, &standing, &ContractOrder::Draw { amount, to })
            .await
    }
}

impl Pause {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let (reached, standing) = self.sends.begin().await?;
        let longest = standing.parties.terms.pause_max_s;
        if self.seconds > longest {
            return Err(Failure::Usage(format!(
                "--for: the terms allow {longest} seconds at most"
            )));
        }
        let seconds = self.seconds;
        self.sends
            .run(&reached, &standing, &ContractOrder::Pause { seconds })
            .await
    }
}

impl Limit {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let (reached, standing) = self.sends.begin().await?;
        let order = ContractOrder::SetDrawLimit(self.amount);
        self.sends.run(&reached, &standing, &order).await
    }
}

impl Names {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let (reached, standing) = self.sends.begin().await?;
        let order = ContractOrder::SetOperator(reached.address("ADDRESS", &self.who)?);
        self.sends.run(&reached, &standing, &order).await
    }
}

impl Proposes {
    pub(super) async fn owner(&self) -> Result<(), Failure> {
        self.run(ContractOrder::ProposeOwner).await
    }

    pub(super) async fn arbiter(&self) -> Result<(), Failure> {
        self.run(ContractOrder::ProposeArbiter).await
    }

    async fn run(&self, order: fn(Option<filature_billing::chain::Address>) -> ContractOrder) -> Result<(), Failure> {
        let (reached, standing) = self.sends.begin().await?;
        let who = match self.who.as_str() {
            "none" => None,
            who => Some(reached.address("ADDRESS", who)?),
        };
        self.sends.run(&reached, &standing, &order(who)).await
    }
}
