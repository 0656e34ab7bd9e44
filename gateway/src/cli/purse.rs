//! A wallet that a command pays from: sends one message, and waits until it is known what became of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use filature_billing::Nano;
use filature_billing::chain::{
    AccountState, Address, Chain, ChainError, FEE_MAX, Incoming, PAGE_MAX, Payment, Position, Signed, Transaction,
    Transfer, Wallet, WalletKey,
};

use super::onchain::Reached;

/// How long a message is good, in seconds of the chain.
const VALID_S: u32 = 180;
/// How far an answer may be behind, in seconds: so long after its end a message may still turn out to have been taken.
const BEHIND_S: u32 = 60;
/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a message may take from one account to another.
const WAY_MAX: Duration = Duration::from_secs(180);

/// A wallet and its key.
pub(super) struct Purse {
    wallet: Wallet,
    key: WalletKey,
}

/// A message that the wallet sent, and what it cost.
pub(super) struct Paid {
    /// The message.
    pub(super) transfer: Transfer,
    /// What the wallet paid beside what the message carries, in nano; unknown if something else came or went meanwhile.
    pub(super) fees: Option<u128>,
}

impl Purse {
    /// The v5r1 wallet of the secret in a file.
    pub(super) fn load(file: &Path, reached: &Reached) -> anyhow::Result<Self> {
        let key = WalletKey::load(file).context("--wallet")?;
        let wallet = Wallet::new(key.public(), reached.network)?;
        Ok(Self { wallet, key })
    }

    pub(super) const fn address(&self) -> Address {
        self.wallet.address()
    }

    /// Makes one payment, whose fees are less than `fees_max`. When this returns, the wallet has made it; that it arrived is
    /// another matter.
    pub(super) async fn pay(&self, reached: &Reached, payment: &Payment, fees_max: Nano) -> anyhow::Result<Paid> {
        let chain = &*reached.chain;
        let before = chain.account(self.address()).await?;
        let (wallet, held) = (reached.shown_wallet(self.address()), before.balance.get());
        let needed = u128::from(payment.amount.get()).saturating_add(fees_max.get().into());
        if held < needed {
            let (held, needed) = (coins(reached, held), coins(reached, needed));
            bail!("the wallet {wallet} (v5r1 of this secret) holds {held}, and {needed} are needed: nothing was sent");
        }
        let seqno = Wallet::seqno_in(&before).with_context(|| format!("what lives at {wallet} is no wallet"))?;
        let until = reached.now().await?.saturating_add(VALID_S);
        let signed = self.wallet.prepare(std::slice::from_ref(payment), seqno, until)?;
        let signed = signed.sign(&self.key)?;
        let after = self.taken(reached, &signed, seqno, until).await?;
        let Some(transaction) = find(chain, self.address(), before.last, &signed).await? else {
            bail!("the wallet {wallet} made another message instead of this one: nothing was sent");
        };
        let Some(transfer) = transaction.outgoing.into_iter().find(|sent| sent.to == payment.to) else {
            bail!("the wallet {wallet} took the message and could not send it: nothing was paid but fees");
        };
        let carried = transfer.value.get();
        let alone = transaction.previous == before.last && after.last == transaction.at;
        let fees = alone.then(|| held.saturating_sub(after.balance.get()).saturating_sub(carried));
        Ok(Paid { transfer, fees })
    }

    /// Sends the contract a message, and waits for what it does with it.
    pub(super) async fn order(&self, reached: &Reached, payment: &Payment) -> anyhow::Result<(Paid, Transaction)> {
        let before = reached.chain.account(payment.to).await?;
        let paid = self.pay(reached, payment, FEE_MAX).await?;
        let transaction = arrived(&*reached.chain, &paid.transfer, before.last).await?;
        if !transaction.succeeded() {
            bail!(
                "the contract refused it, and the wallet paid the fees: {}",
                refusal(&transaction)
            );
        }
        Ok((paid, transaction))
    }

    /// Sends the message until the wallet is past its seqno; how the wallet stands then.
    async fn taken(&self, reached: &Reached, signed: &Signed, seqno: u32, until: u32) -> anyhow::Result<AccountState> {
        let (began, mut sent) = (Instant::now(), false);
        loop {
            // Once it may have been sent, neither an answer that does not come nor a refusal is a reason to stop looking.
            match self.look(reached, signed, (seqno, until), &mut sent).await? {
                Look::Taken(state) => return Ok(state),
                Look::Waits => {}
                Look::Late => bail!("the chain did not take the message in time: nothing was sent"),
                Look::Unknown(error) if began.elapsed() > WAY_MAX => {
                    bail!(
                        "it is not known whether the message was taken ({error}): look at the wallet before you try again"
                    )
                }
                Look::Unknown(error) => super::output::note(&error.to_string()),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends the message (again), and looks at the wallet.
    async fn look(
        &self,
        reached: &Reached,
        signed: &Signed,
        (seqno, until): (u32, u32),
        sent: &mut bool,
    ) -> anyhow::Result<Look> {
        let chain = &*reached.chain;
        let unknown = match chain.send(&signed.bytes).await {
            // It was taken already, or another one was: that is seen by the wallet. Or its time is over.
            Err(error) if Wallet::refused_seqno(&error) || Wallet::refused_expired(&error) => None,
            Err(ChainError::Refused { reason, .. }) if !*sent => bail!("the chain refused the message: {reason}"),
            Err(ChainError::Refused { .. }) => None,
            told => {
                *sent = true;
                told.err()
            }
        };
        let looked = async {
            let state = chain.account(self.address()).await?;
            if Wallet::seqno_in(&state).is_some_and(|now| now > seqno) {
                return Ok(Look::Taken(state));
            }
            let late = chain.head().await?.time > until.saturating_add(BEHIND_S);
            Ok(match unknown {
                _ if late => Look::Late,
                Some(error) => Look::Unknown(error),
                None => Look::Waits,
            })
        };
        Ok(looked.await.unwrap_or_else(Look::Unknown))
    }
}

/// What became of a message so far.
enum Look {
    /// The wallet is past its seqno, and stands like this.
    Taken(AccountState),
    Waits,
    /// Its time is over.
    Late,
    /// Nobody answers.
    Unknown(ChainError),
}

/// What the contract's exit code says (`billing/contracts/README.md`).
fn refusal(transaction: &Transaction) -> String {
    let why = match transaction.exit_code {
        Some(401) => "this wallet may not do it",
        Some(402) => "it is paused",
        Some(403) => "the message carries too little",
        Some(406) => "another root was anchored meanwhile: get the newer proof",
        Some(407) => "nothing is due any more: it was paid meanwhile",
        Some(408) => "its money does not suffice",
        Some(409) => "there is no such stake, case or proposal",
        Some(410) => "a case is open, or was answered already",
        Some(411) => "it is too early",
        Some(412) => "it is too late",
        Some(413) => "the amount is zero, more than there is or than the limit, or leaves less than the least stake",
        Some(414) => "this wallet's stake is for another provider",
        Some(415) => "that is longer than a pause may be",
        Some(code) => return format!("exit code {code}"),
        None => "it did not run",
    };
    why.to_owned()
}

fn coins(reached: &Reached, nano: u128) -> String {
    reached.amount(i128::try_from(nano).unwrap_or(i128::MAX))
}

/// The wallet's transaction that took a message; `None` if it is not in the history.
async fn find(
    chain: &dyn Chain,
    wallet: Address,
    mut after: Position,
    signed: &Signed,
) -> Result<Option<Transaction>, ChainError> {
    loop {
        let page = chain.transactions(wallet, after, PAGE_MAX).await?;
        let Some(last) = page.last().map(|last| last.at) else {
            return Ok(None);
        };
        let ours = |one: &Transaction| one.incoming == Incoming::External(signed.hash);
        if let Some(found) = page.into_iter().find(ours) {
            return Ok(Some(found));
        }
        after = last;
    }
}

/// The transaction by which `transfer` arrived, later than `after` in its receiver's history. Waits for it.
pub(super) async fn arrived(chain: &dyn Chain, transfer: &Transfer, after: Position) -> anyhow::Result<Transaction> {
    let arriving = async {
        let mut after = after;
        loop {
            let page = match chain.transactions(transfer.to, after, PAGE_MAX).await {
                Ok(page) => page,
                // It was sent: an answer that does not come is no reason to stop looking.
                Err(error) => {
                    super::output::note(&error.to_string());
                    Vec::new()
                }
            };
            after = page.last().map_or(after, |last| last.at);
            let took = |one: &Transaction| {
                matches!(&one.incoming, Incoming::Transfer(got)
                    if got.from == transfer.from && got.created_lt == transfer.created_lt && !got.bounced)
            };
            let empty = page.is_empty();
            if let Some(found) = page.into_iter().find(took) {
                return found;
            }
            if empty {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    };
    let arrived = tokio::time::timeout(WAY_MAX, arriving).await;
    arrived.context("the message was sent, and is not seen to arrive in three minutes: look again before you try again")
}
