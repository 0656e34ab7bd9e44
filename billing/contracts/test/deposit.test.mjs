import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cell, beginCell, external, storeMessage } from '@ton/core';
import { World, bodies, nano } from './kit.mjs';

test('a transfer with a comment, long or short, or with nothing at all is a deposit', async () => {
    const world = await World.create();
    for (const body of [
        bodies.comment('inv_7Q'),
        bodies.comment('ü'.repeat(300)),
        new Cell(),
        beginCell().storeUint(0, 32).endCell(),
    ]) {
        const [data, before] = [await world.data(), await world.balance()];
        const deposit = await world.ok(world.caller, body, { value: nano(5) });
        assert.equal(await world.data(), data);
        assert.ok((await world.balance()) - before > nano('4.9999'));
        assert.deepEqual(deposit.sent, []);
    }
    assert.ok((await world.ask('money')).float > nano(1000 + 20 - 1 - 1));
});

test('a body that is no operation goes back to its sender', async () => {
    const world = await World.create();
    const op = (number) => beginCell().storeUint(number, 32).storeUint(0, 64).endCell();
    // 0x2167da4b is an encrypted comment: nobody here could read whose deposit it is.
    for (const number of [0x2167da4b, 0xf11a0000, 0xf11a00ff, 0xf11a0080, 0xd53276db, 1, 0xffffffff]) {
        await world.refused('OP', world.caller, op(number), { value: nano(5) });
    }
    for (const bits of [1, 8, 31]) {
        await world.refused(9, world.caller, beginCell().storeUint(0, bits).endCell(), { value: nano(5) });
    }
});

test('a body that is cut short or goes on too long is refused', async () => {
    const world = await World.create();
    const epoch = await world.anchor(1n, [
        [world.alice, 'alice', nano(5), 0n],
        [world.bob, 'bob', nano(5), 0n],
    ]);
    const senders = {
        anchor: [
            world.operator,
            bodies.anchor({ epoch: 2n, earningsRoot: epoch.root, receiptsRoot: epoch.root, owed: 0n }),
        ],
        claim: [world.alice, world.claim(epoch, 0)],
        contest: [world.alice, world.contest(epoch, 0, 0n)],
        stake: [world.alice, bodies.stake(Buffer.alloc(28))],
        draw: [world.owner, bodies.draw(1n, world.owner)],
        setOperator: [world.owner, bodies.setOperator(world.bob)],
        pause: [world.owner, bodies.pause(60)],
        proposeOwner: [world.owner, bodies.proposeOwner(world.bob)],
    };
    for (const [name, [sender, body]] of Object.entries(senders)) {
        const bits = body.bits.length;
        const refs = (cell, take = body.refs.length) =>
            body.refs.slice(0, take).reduce((b, ref) => b.storeRef(ref), cell);
        const cut = (length) => refs(beginCell().storeBits(body.bits.substring(0, length))).endCell();
        const options = { value: nano(20) };
        for (const length of [32, 95, bits - 1]) await world.refused(9, sender, cut(length), options);
        await world.refused(9, sender, refs(beginCell().storeBits(body.bits).storeBit(true)).endCell(), options);
        await world.refused(9, sender, refs(beginCell().storeBits(body.bits)).storeRef(new Cell()).endCell(), options);
        assert.ok(name);
    }
});

test('a message from outside the chain is refused', async () => {
    const world = await World.create();
    const message = external({ to: world.address, body: bodies.resume() });
    const cell = beginCell().store(storeMessage(message)).endCell();
    await assert.rejects(world.chain.sendMessage(cell), /[Ee]xternal message not accepted/);
});

test('deploying again changes nothing: the money is a deposit', async () => {
    const world = await World.create();
    await world.ok(world.alice, bodies.stake(Buffer.alloc(28, 7)), { value: nano(50) });
    await world.anchor(9n, [[world.alice, 'alice', nano(5), 0n]]);
    const data = await world.data();
    await world.ok(world.stranger, new Cell(), { value: nano(1), init: world.init });
    assert.equal(await world.data(), data);
    // Nor does another's initial data for this address.
    const init = { code: world.init.code, data: beginCell().storeAddress(world.stranger).endCell() };
    await world.ok(world.stranger, new Cell(), { value: nano(1), init });
    assert.equal(await world.data(), data);
});

test('a deposit too small for its own fees changes nothing', async () => {
    const world = await World.create();
    const data = await world.data();
    for (const value of [1n, 1000n, 30_000n]) {
        await world.send(world.caller, bodies.comment('dust'), { value });
        assert.equal(await world.data(), data);
        await world.checkSafe();
    }
});
