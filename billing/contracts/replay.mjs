// Runs transactions in the C++ executor, so that another executor's results can be compared with it.
//
// Reads lines of JSON from a file (or standard input) and writes one line for each; README.md has both formats.
import { createReadStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Cell, loadShardAccount, loadTransaction } from '@ton/core';
import { Executor } from '@ton/sandbox';

export const defaultConfig = readFileSync(new URL('../src/chain/devnet/config.boc', import.meta.url)).toString('base64');

/** Runs one line's transaction. `config` is the network's configuration as a bag of cells in base64. */
export async function replay(executor, line, config) {
    const { result } = await executor.runTransaction({
        config,
        libs: null,
        verbosity: 'short',
        shardAccount: line.shard_account_before,
        message: Cell.fromBase64(line.message),
        now: line.now,
        lt: BigInt(line.lt),
        randomSeed: line.random_seed ? Buffer.from(line.random_seed, 'hex') : null,
        ignoreChksig: false,
        debugEnabled: false,
    });
    if (!result.success) {
        return { ok: false, error: result.error, exit_code: result.vmResults?.vmExitCode ?? null };
    }
    const transaction = loadTransaction(Cell.fromBase64(result.transaction).beginParse());
    const { account } = loadShardAccount(Cell.fromBase64(result.shardAccount).beginParse());
    return { ok: true, ...phases(transaction), ...state(account), lt: transaction.lt.toString() };
}

function phases({ description, totalFees, outMessages }) {
    const compute = description.computePhase;
    const action = description.actionPhase;
    return {
        aborted: description.aborted,
        exit_code: compute.type === 'vm' ? compute.exitCode : null,
        skipped: compute.type === 'vm' ? null : compute.reason,
        gas: compute.type === 'vm' ? compute.gasUsed.toString() : '0',
        total_fees: totalFees.coins.toString(),
        storage_fee: (description.storagePhase?.storageFeesCollected ?? 0n).toString(),
        actions: action
            ? { result_code: action.resultCode, total: action.totalActions, messages: action.messagesCreated }
            : null,
        out_messages: outMessages.values().map(outMessage),
    };
}

function outMessage({ info, body }) {
    return {
        to: info.dest?.toRawString?.() ?? null,
        value: (info.value?.coins ?? 0n).toString(),
        bounce: info.bounce ?? false,
        bounced: info.bounced ?? false,
        forward_fee: (info.forwardFee ?? 0n).toString(),
        body_hash: body.hash().toString('hex'),
    };
}

function state(account) {
    const kind = account?.storage.state.type ?? 'nonexist';
    const active = kind === 'active' ? account.storage.state.state : null;
    return {
        status_after: kind,
        balance_after: (account?.storage.balance.coins ?? 0n).toString(),
        data_hash_after: active?.data?.hash().toString('hex') ?? null,
        code_hash_after: active?.code?.hash().toString('hex') ?? null,
    };
}

/** Runs all lines of `input`, in order. A line's `config_boc` holds for the lines after it too. */
async function* replayLines(executor, input) {
    let config = defaultConfig;
    let number = 0;
    for await (const text of input) {
        number += 1;
        if (text.trim() === '') continue;
        try {
            const line = JSON.parse(text);
            config = line.config_boc ?? config;
            yield await replay(executor, line, config);
        } catch (error) {
            throw new Error(`line ${number}: ${error.message}`, { cause: error });
        }
    }
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
    const from = process.argv[2];
    // First, since lines are lost that come before somebody reads them.
    const executor = await Executor.create();
    const input = createInterface({ input: from && from !== '-' ? createReadStream(from) : process.stdin });
    try {
        for await (const answer of replayLines(executor, input)) console.log(JSON.stringify(answer));
    } catch (error) {
        console.error(`replay: ${error.message}`);
        process.exitCode = 1;
    }
}
