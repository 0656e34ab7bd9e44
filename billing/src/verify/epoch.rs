//! An epoch's object by itself: canonical byte for byte, and every figure in it derived again.

use super::{Fault, TrustedKeys, Wrong, canonical, fault, same, verify_figures, verify_seal};
use crate::epoch::{Earned, Epoch, Seal, earnings_root, records_tree, sums};
use crate::money::Nano;
use crate::receipt::verify_record;
use crate::record::UsageRecord;

/// Verifies an epoch's object by itself: that it is canonical byte for byte, the seal, every record with the
/// providers' signatures, and every figure that can be derived from it. [`crate::Chain::follow`] shows the rest.
///
/// # Errors
/// [`Fault`] says what is wrong, and in which line.
pub fn verify_epoch(object: &[u8], keys: &TrustedKeys) -> Result<Epoch, Fault> {
    let epoch = read_epoch(object)?;
    verify_seal(&epoch.seal, keys)?;
    let header = &epoch.seal.header;
    let at = |wrong| fault(format!("epoch {}", header.number), wrong);
    for (place, record) in records_of(&epoch) {
        verify_record(record).map_err(|error| fault(&place, error.into()))?;
        verify_figures(record).map_err(|wrong| fault(&place, wrong))?;
    }
    let derived = sums(&epoch.records).map_err(|error| at(Wrong::Form(error.to_string())))?;
    same("the sums", header.sums, derived).map_err(at)?;
    let root = records_tree(&epoch.lines).root();
    same("the root of the receipts", header.receipts_root, root).map_err(at)?;
    let root = earnings_root(&epoch.earnings);
    same("the root of the earnings", header.earnings_root, root).map_err(at)?;
    let earned = Nano::sum(epoch.earnings.iter().map(|earned| earned.earned));
    same("what providers earned in all", Ok(header.totals.earned), earned).map_err(at)?;
    Ok(epoch)
}

/// Reads an object's lines; each must be the one canonical text of what it says, in the one order.
fn read_epoch(object: &[u8]) -> Result<Epoch, Fault> {
    let Some(text) = object.strip_suffix(b"\n") else {
        return Err(fault(
            "the object",
            Wrong::Form("it ends in the middle of a line".into()),
        ));
    };
    let mut lines = text.split(|&b| b == b'\n').zip(1_usize..);
    let seal = lines.next().map_or(&[][..], |(line, _)| line);
    let seal: Seal = canonical(seal, |seal: &Seal| seal.line().ok()).map_err(|wrong| fault("line 1", wrong))?;
    let number = seal.header.number;
    let (mut earnings, mut records) = (Vec::<Earned>::new(), Vec::<UsageRecord>::new());
    let mut sealed = Vec::new();
    for (line, at) in lines {
        let at = |wrong| fault(format!("epoch {number}, line {at}"), wrong);
        if len(&earnings) < seal.header.providers {
            let earned: Earned = canonical(line, |earned: &Earned| earned.line().ok()).map_err(at)?;
            if earnings.last().is_some_and(|last| last.provider >= earned.provider) {
                return Err(at(Wrong::Form("providers stand in order, each once".into())));
            }
            earnings.push(earned);
        } else {
            let record: UsageRecord = canonical(line, written).map_err(at)?;
            if records.last().is_some_and(|last| last.call >= record.call) {
                return Err(at(Wrong::Form("records stand in order of call, each once".into())));
            }
            records.push(record);
            sealed.extend_from_slice(line);
            sealed.push(b'\n');
        }
    }
    let epoch = Epoch {
        seal,
        earnings,
        records,
        lines: sealed,
    };
    let header = &epoch.seal.header;
    let at = |wrong| fault(format!("epoch {}", header.number), wrong);
    same("the number of providers", header.providers, len(&epoch.earnings)).map_err(at)?;
    same("the number of receipts", header.sums.calls, len(&epoch.records)).map_err(at)?;
    Ok(epoch)
}

fn records_of(epoch: &Epoch) -> impl Iterator<Item = (String, &UsageRecord)> {
    let number = epoch.seal.header.number;
    let before = epoch.earnings.len();
    epoch.records.iter().enumerate().map(move |(at, record)| {
        // Lines count from 1, and the first is the seal.
        let line = at.saturating_add(before).saturating_add(2);
        (format!("epoch {number}, line {line} ({})", record.call), record)
    })
}

fn written(record: &UsageRecord) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    record.write_canonical(&mut line).ok().map(|()| line)
}

fn len<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).unwrap_or(u64::MAX)
}
