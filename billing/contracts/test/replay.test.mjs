import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { beginCell, storeMessage, storeShardAccount } from '@ton/core';
import { World, bodies, config, constants, nano } from './kit.mjs';
import { Wallet } from './v5r1.mjs';

const program = fileURLToPath(new URL('../replay.mjs', import.meta.url));
const run = (input) => spawnSync(process.execPath, [program], { input, encoding: 'utf8' });
const base64 = (cell) => cell.toBoc().toString('base64');

/** Delivers a message on the sandbox's chain; gives it as a line for the replay with what became of it. */
async function recorded(world, from, body, options) {
    const before = (await world.chain.getContract(world.address)).account;
    const outcome = await world.send(from, body, options);
    const line = {
        shard_account_before: base64(beginCell().store(storeShardAccount(before)).endCell()),
        message: base64(beginCell().store(storeMessage(outcome.first.inMessage)).endCell()),
        now: world.now,
        lt: outcome.first.lt.toString(),
    };
    return { line, outcome, balance: await world.balance(), data: await world.data() };
}

test('what the sandbox did is done again: exit code, gas, fees, balance, data, messages', async () => {
    const world = await World.create();
    const epoch = await world.anchor(1n, [[world.alice, 'alice', nano(10), 0n]]);
    const all = [
        await recorded(world, world.caller, bodies.comment('inv_1'), { value: nano(3) }),
        await recorded(world, world.alice, world.claim(epoch, 0)),
        await recorded(world, world.alice, world.claim(epoch, 0)),
        await recorded(world, world.alice, bodies.stake(Buffer.alloc(28)), { value: nano(30) }),
        await recorded(world, world.caller, bodies.comment('dust'), { value: 1000n, bounce: false }),
    ];
    const lines = all.map(({ line }, i) => JSON.stringify(i === 0 ? { config_boc: base64(config), ...line } : line));
    const answers = run(`${lines.join('\n')}\n\n`)
        .stdout.trim()
        .split('\n')
        .map((line) => JSON.parse(line));
    assert.equal(answers.length, all.length);
    assert.deepEqual(
        answers.map((answer) => answer.exit_code),
        [0, 0, constants.ERR_NOTHING_DUE, 0, null],
    );
    assert.equal(answers[4].skipped, 'no-gas');
    for (const [i, { outcome, balance, data }] of all.entries()) {
        const [answer, tx] = [answers[i], outcome.first];
        assert.equal(answer.ok, true);
        assert.equal(answer.aborted, tx.description.aborted);
        assert.equal(answer.total_fees, tx.totalFees.coins.toString());
        assert.equal(answer.balance_after, balance.toString());
        assert.equal(answer.data_hash_after, data);
        assert.equal(answer.gas, (outcome.gas ?? 0n).toString());
        assert.equal(answer.lt, tx.lt.toString());
        assert.deepEqual(
            answer.out_messages.map((one) => one.value),
            outcome.sent.map((one) => one.value.toString()),
        );
    }
    assert.equal(answers[1].actions.messages, 1);
    assert.equal(answers[2].out_messages[0].bounced, true);
});

test("a signed message from outside is run again, from the wallet's deployment on", async () => {
    const world = await World.create();
    const wallet = new Wallet('operator');
    await world.send(world.caller, bodies.comment('hello'), { to: wallet.address, value: nano(5), bounce: false });
    const lines = [];
    const expected = [];
    for (let i = 0; i < 2; i++) {
        const before = (await world.chain.getContract(wallet.address)).account;
        const message = wallet.sign(world, [[world.bob, nano(1), bodies.comment('payout'), false]]);
        const { transactions } = await world.chain.sendMessage(message);
        lines.push({
            shard_account_before: base64(beginCell().store(storeShardAccount(before)).endCell()),
            message: base64(beginCell().store(storeMessage(message)).endCell()),
            now: world.now,
            lt: transactions[0].lt.toString(),
        });
        const { balance, accountState } = await world.chain.getContract(wallet.address);
        expected.push([0, false, balance.toString(), accountState.state.data.hash().toString('hex')]);
    }
    const answers = run(lines.map((line) => JSON.stringify(line)).join('\n'))
        .stdout.trim()
        .split('\n')
        .map((line) => JSON.parse(line));
    const got = answers.map((one) => [one.exit_code, one.aborted, one.balance_after, one.data_hash_after]);
    assert.deepEqual(got, expected);
    assert.equal(answers[0].out_messages[0].to, world.bob.toRawString());
});

test('a message that the contract does not accept is told as such', async () => {
    const world = await World.create();
    const { line } = await recorded(world, world.caller, bodies.comment('x'));
    const outside = { info: { type: 'external-in', dest: world.address, importFee: 0n }, body: bodies.resume() };
    const message = base64(beginCell().store(storeMessage(outside)).endCell());
    const { stdout, status } = run(JSON.stringify({ ...line, message }));
    const answer = JSON.parse(stdout);
    assert.equal(status, 0);
    assert.equal(answer.ok, false);
    assert.match(answer.error, /not accepted/);
});

test('a line that cannot be read is an error that names the line', () => {
    for (const input of [
        '\nnot json\n',
        '{}\n',
        '{"message": "AAAA", "now": 1, "lt": "1", "shard_account_before": "AAAA"}',
    ]) {
        const { status, stderr, stdout } = run(input);
        assert.equal(status, 1);
        assert.match(stderr, /^replay: line \d: /);
        assert.equal(stdout, '');
    }
    assert.throws(() => execFileSync(process.execPath, [program, '/no/such/file'], { stdio: 'pipe' }));
});

test('what another executor wrote down is compared, and a wrong figure or too few lines fail', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'replays-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const world = await World.create();
    const { line } = await recorded(world, world.caller, bodies.comment('inv_1'), { value: nano(3) });
    const answer = JSON.parse(run(JSON.stringify({ config_boc: base64(config), ...line })).stdout);
    const right = { config_boc: base64(config), ...line, ...answer, gas: Number(answer.gas) };
    const all = fileURLToPath(new URL('../replays.mjs', import.meta.url));
    const compare = (lines, ...args) => {
        writeFileSync(join(folder, '1-0.jsonl'), lines.map((one) => `${JSON.stringify(one)}\n`).join(''));
        return spawnSync(process.execPath, [all, ...args, folder], { encoding: 'utf8' });
    };
    const good = compare([right, right]);
    assert.equal(good.status, 0, good.stderr);
    assert.match(good.stdout, /2 messages of 1 devnets.* the 1 that differ .*1 came out equal, 0 did not/);
    for (const wrong of [
        { total_fees: '1' },
        { balance_after: '1' },
        { data_hash_after: '00' },
        { gas: 1 },
        { exit_code: 7 },
        { out_messages: [] },
    ]) {
        const [field] = Object.keys(wrong);
        if (JSON.stringify(right[field]) === JSON.stringify(wrong[field])) continue;
        const bad = compare([right, { ...right, ...wrong }]);
        assert.equal(bad.status, 1, field);
        assert.match(bad.stderr, new RegExp(`1-0.jsonl:2: ${field}: `));
    }
    const { shard_account_before, message, now, lt } = right;
    const bad = compare([{ shard_account_before, message, now, lt, refused: true, exit_code: 33 }]);
    assert.equal(bad.status, 1);
    assert.match(bad.stderr, /1-0.jsonl:1: refused there with 33, taken in C\+\+/);
    assert.match(compare([right], '--least', '2').stderr, /fewer than 2 are too few/);
    assert.match(compare([]).stderr, /too few/);
    assert.equal(compare([]).status, 1);
    const nowhere = spawnSync(process.execPath, [all, join(folder, 'none')], { encoding: 'utf8' });
    assert.equal(nowhere.status, 1);
    assert.match(nowhere.stderr, /make test-rust/);
});
