//! Invoices: the comment that says whose deposit it is. It names the account itself, so nothing is stored for it, and ends
//! in a checksum, so that a mistyped one credits nobody.

use std::fmt;

use crate::chain::{Address, Network};
use crate::hash::Hash;
use crate::id::{AccountId, CROCKFORD, RANDOM_CHARS};
use crate::money::Nano;

/// What an invoice begins with.
const MARK: char = 'f';
/// Characters of the checksum: 25 bits, so that one in 33 million mistyped invoices passes for another.
const CHECK_CHARS: usize = 5;
/// What the checksum is over, before the account.
const DOMAIN: &[u8] = b"filature/invoice/1:";
/// The scheme of links that wallets open.
pub const LINK_SCHEME: &str = "ton://transfer/";

/// The comment of a deposit that credits an account: `f`, the 20 characters of the account's id, and a checksum of 5.
/// Letters may be written in either case.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Invoice {
    account: AccountId,
    text: String,
}

/// Why a comment is no invoice. Worded for whoever looks for the money.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadInvoice {
    /// Something else.
    #[error("the comment is not an invoice: f and 25 letters and digits")]
    Other,
    /// An invoice's form, and another checksum.
    #[error("the comment is mistyped: its checksum does not fit")]
    Checksum,
}

impl Invoice {
    /// The invoice of an account; `None` if its id is none that is generated.
    #[must_use]
    pub fn of(account: &AccountId) -> Option<Self> {
        let name = account.as_str().strip_prefix("acct_")?;
        is_name(name).then(|| Self {
            text: format!("{MARK}{name}{}", checksum(name)),
            account: account.clone(),
        })
    }

    /// Reads a comment. Spaces around it do not count.
    ///
    /// # Errors
    /// [`BadInvoice`]
    pub fn read(comment: &str) -> Result<Self, BadInvoice> {
        let text = comment.trim().to_ascii_lowercase();
        let rest = text.strip_prefix(MARK).ok_or(BadInvoice::Other)?;
        let (name, check) = rest.split_at_checked(RANDOM_CHARS).ok_or(BadInvoice::Other)?;
        if !is_name(name) || check.len() != CHECK_CHARS || !check.bytes().all(is_digit) {
            return Err(BadInvoice::Other);
        }
        if check != checksum(name) {
            return Err(BadInvoice::Checksum);
        }
        let account = AccountId::parse(&format!("acct_{name}")).map_err(|_| BadInvoice::Other)?;
        Ok(Self { account, text })
    }

    /// Whom it credits.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// The comment.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Invoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// A digit of Crockford's base 32 as account ids have it: in lower case.
fn is_digit(byte: u8) -> bool {
    !byte.is_ascii_uppercase() && CROCKFORD.contains(&byte.to_ascii_uppercase())
}

fn is_name(name: &str) -> bool {
    name.len() == RANDOM_CHARS && name.bytes().all(is_digit)
}

fn checksum(name: &str) -> String {
    let hash = Hash::of_parts(&[DOMAIN, name.as_bytes()]);
    // A byte for each digit of five bits: simpler than cutting five bytes, and as good.
    let bytes = hash.as_bytes().iter().take(CHECK_CHARS);
    bytes
        .filter_map(|byte| CROCKFORD.get(usize::from(byte & 31)))
        .map(|digit| char::from(digit.to_ascii_lowercase()))
        .collect()
}

/// A link that a wallet opens as a transfer, filled in: `ton://transfer/ADDRESS?amount=NANO&text=COMMENT`.
#[must_use]
pub fn payment_link(address: Address, network: Network, amount: Option<Nano>, comment: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(amount) = amount {
        query.append_pair("amount", &amount.get().to_string());
    }
    query.append_pair("text", comment);
    // Wallets show the plus sign of HTML's forms as it is.
    let query = query.finish().replace('+', "%20");
    // Not bouncing: the address may be a wallet that was never used.
    format!("{LINK_SCHEME}{}?{query}", address.friendly(false, network))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn account() -> AccountId {
        AccountId::parse("acct_0123456789abcdefghjk").expect("an id")
    }

    #[test]
    fn an_invoice_never_changes() {
        // Callers keep invoices: another text for the same account would lose their money.
        let invoice = Invoice::of(&account()).expect("an invoice");
        assert_eq!(invoice.as_str(), "f0123456789abcdefghjkwcya2");
    }

    #[test]
    fn an_invoice_is_read_as_people_copy_it() {
        let invoice = Invoice::of(&account()).expect("an invoice");
        let upper = invoice.as_str().to_ascii_uppercase();
        for text in [
            invoice.as_str(),
            &upper,
            &format!(" {upper}\n"),
            &format!("\u{a0}{invoice}\t"),
        ] {
            assert_eq!(Invoice::read(text), Ok(invoice.clone()), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_invoice_is_told() {
        let invoice = Invoice::of(&account()).expect("an invoice").to_string();
        let cut = &invoice[..invoice.len() - 1];
        let long = "f".repeat(1_000);
        for text in [
            "",
            "f",
            "hello",
            "acct_0123456789abcdefghjk",
            cut,
            &format!("{invoice}0"),
            &format!("x{}", &invoice[1..]),
            &invoice.replace('5', " "),
            &invoice.replace('5', "é"),
            &invoice.replace('5', "５"),
            &invoice.replace('5', "u"),
            &long,
            "\u{202e}f0123456789abcdefghjk",
        ] {
            assert_eq!(Invoice::read(text), Err(BadInvoice::Other), "{text:?}");
        }
        assert_eq!(Invoice::of(&AccountId::parse("acct_a").expect("an id")), None);
        let upper = AccountId::parse("acct_0123456789ABCDEFGHJK").expect("an id");
        assert_eq!(Invoice::of(&upper), None, "it would be taken for another's");
    }

    #[test]
    fn a_link_says_it_all() {
        let address = Address::basechain([7; 32]);
        let amount = Nano::new(1_500_000_000).expect("small");
        let link = payment_link(address, Network::Testnet, Some(amount), "f1 & x");
        let place = address.friendly(false, Network::Testnet);
        assert_eq!(
            link,
            format!("ton://transfer/{place}?amount=1500000000&text=f1%20%26%20x")
        );
        let link = payment_link(address, Network::Mainnet, None, "f1");
        assert_eq!(
            link,
            format!("ton://transfer/{}?text=f1", address.friendly(false, Network::Mainnet))
        );
    }

    proptest! {
        #[test]
        fn every_account_reads_back(seed in any::<u64>()) {
            let account = AccountId::generate(&mut StdRng::seed_from_u64(seed));
            let invoice = Invoice::of(&account).expect("an invoice");
            prop_assert_eq!(Invoice::read(invoice.as_str()), Ok(invoice.clone()));
            prop_assert_eq!(invoice.account(), &account);
        }

        #[test]
        fn a_slip_credits_nobody(seed in any::<u64>(), at in 1..26_usize, digit in 0..32_usize) {
            let account = AccountId::generate(&mut StdRng::seed_from_u64(seed));
            let invoice = Invoice::of(&account).expect("an invoice");
            let mut text = invoice.as_str().as_bytes().to_vec();
            let before = text[at];
            text[at] = CROCKFORD[digit].to_ascii_lowercase();
            let slipped = Invoice::read(std::str::from_utf8(&text).expect("text"));
            prop_assert_eq!(slipped.is_ok(), text[at] == before);
            // Two neighbours that change places.
            let mut text = invoice.as_str().as_bytes().to_vec();
            if at < 25 && text[at] != text[at + 1] {
                text.swap(at, at + 1);
                prop_assert!(Invoice::read(std::str::from_utf8(&text).expect("text")).is_err());
            }
        }

        #[test]
        fn no_comment_makes_it_panic(text in ".*") {
            let _ = Invoice::read(&text);
        }
    }
}
