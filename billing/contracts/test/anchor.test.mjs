import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY, START, World, bodies, constants, hash, nano } from './kit.mjs';

const roots = (epoch, owed = 0n) => ({
    epoch,
    earningsRoot: hash(`earnings of ${epoch}`),
    receiptsRoot: hash(`receipts of ${epoch}`),
    owed,
});
const anchor = (world, epoch, owed) => world.ok(world.operator, bodies.anchor(roots(epoch, owed)));

/** The chain as README.md defines it. */
function chained(before, { epoch, earningsRoot, receiptsRoot }) {
    const number = Buffer.alloc(8);
    number.writeBigUInt64BE(epoch);
    return hash(Buffer.concat([before, number, earningsRoot, receiptsRoot]));
}

test('an anchor is written down with its time, and chained to all before it', async () => {
    const world = await World.create();
    assert.equal((await world.ask('lastAnchor')).count, 0);
    let chain = Buffer.alloc(32);
    for (const epoch of [0n, 1n, 5n, 6n]) {
        world.pass(60);
        await anchor(world, epoch, 77n);
        chain = chained(chain, roots(epoch));
        const last = await world.ask('lastAnchor');
        assert.equal(last.epoch, epoch);
        assert.equal(last.at, world.now);
        assert.equal(last.earningsRoot, roots(epoch).earningsRoot.toString('hex'));
        assert.equal(last.receiptsRoot, roots(epoch).receiptsRoot.toString('hex'));
        assert.equal(last.chain, chain.toString('hex'));
    }
    assert.equal((await world.ask('lastAnchor')).count, 4);
    assert.equal((await world.ask('money')).owed, 77n);
});

test('what an anchor does not use stays as payout money, and nothing is sent', async () => {
    const world = await World.create();
    const before = (await world.ask('money')).float;
    const { sent } = await world.ok(world.operator, bodies.anchor(roots(1n)), { value: nano('0.5') });
    assert.deepEqual(sent, []);
    assert.ok((await world.ask('money')).float - before > nano('0.499'));
});

test('the same epoch, an older one, and a replayed message are refused', async () => {
    const world = await World.create();
    await anchor(world, 7n);
    await world.refused('EPOCH', world.operator, bodies.anchor(roots(7n)));
    await world.refused('EPOCH', world.operator, bodies.anchor({ ...roots(8n), epoch: 7n }));
    await world.refused('EPOCH', world.operator, bodies.anchor(roots(6n)));
    await world.refused('EPOCH', world.operator, bodies.anchor(roots(0n)));
    await anchor(world, 8n);
    await world.refused('EPOCH', world.operator, bodies.anchor(roots(8n)));
});

test('an epoch too far ahead is refused, so that the numbers cannot be used up', async () => {
    const world = await World.create();
    await anchor(world, 10n);
    const most = 10n + BigInt(constants.EPOCH_STEP_MAX);
    await world.refused('EPOCH', world.operator, bodies.anchor(roots(most + 1n)));
    await world.refused('EPOCH', world.operator, bodies.anchor(roots(2n ** 64n - 1n)));
    await anchor(world, most);
});

test('only the operator anchors', async () => {
    const world = await World.create();
    for (const sender of ['owner', 'arbiter', 'alice', 'stranger']) {
        await world.refused('SENDER', world[sender], bodies.anchor(roots(1n)));
    }
});

test('a value that does not cover the fees is refused', async () => {
    const world = await World.create();
    await world.refused('VALUE', world.operator, bodies.anchor(roots(1n)), { value: constants.ANCHOR_VALUE - 1n });
    await world.ok(world.operator, bodies.anchor(roots(1n)), { value: constants.ANCHOR_VALUE });
});

test('the last anchor of each of the last days is kept, and no more', async () => {
    const world = await World.create();
    let epoch = 0n;
    for (let day = 0; day < 20; day++) {
        for (let hour = 0; hour < 3; hour++) {
            epoch += 1n;
            await anchor(world, epoch);
            world.pass(3600);
        }
        world.pass(DAY - 3 * 3600);
    }
    const past = await world.ask('pastAnchors');
    // Of day d the third anchor is 3(d + 1); today's last is not among the past ones.
    const expected = Array.from({ length: 8 }, (_, i) => BigInt(3 * (12 + i)));
    assert.deepEqual(
        past.map((one) => one.epoch),
        expected,
    );
    assert.equal(past[0].earningsRoot, roots(36n).earningsRoot.toString('hex'));
    assert.equal(past[0].at, START + 11 * DAY + 2 * 3600);
    assert.equal((await world.ask('anchorOf', 57n)).receiptsRoot, roots(57n).receiptsRoot.toString('hex'));
    assert.equal((await world.ask('anchorOf', 60n)).receiptsRoot, roots(60n).receiptsRoot.toString('hex'));
    for (const forgotten of [33n, 56n, 58n, 61n]) assert.equal(await world.ask('anchorOf', forgotten), null);
});

test('amounts at the ends of their ranges do no harm', async () => {
    const world = await World.create();
    await anchor(world, 0n, 2n ** 64n - 1n);
    assert.equal((await world.ask('money')).drawable, 0n);
    await anchor(world, 1n, 0n);
});
