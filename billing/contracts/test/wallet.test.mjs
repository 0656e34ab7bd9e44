// The people as they are: wallets v5r1 with keys, which sign what they send.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@ton/core';
import { DAY, World, bodies, constants, hash, nano, providerTag } from './kit.mjs';
import { Wallet } from './v5r1.mjs';

const fees = (transactions) =>
    transactions.reduce((all, tx) => {
        const forward = tx.outMessages.values().reduce((sum, { info }) => sum + (info.forwardFee ?? 0n), 0n);
        return all + tx.totalFees.coins + forward;
    }, 0n);

async function begin() {
    const world = await World.create();
    const [operator, alice] = [new Wallet('operator'), new Wallet('alice')];
    await world.ok(world.owner, bodies.setOperator(operator.address));
    const fund = async (wallet, value) =>
        world.send(world.caller, bodies.comment('hello'), { to: wallet.address, value, bounce: false });
    await fund(operator, nano(100));
    return { world, operator, alice, fund };
}

test('one signed message anchors and pushes; its bytes sent again do nothing', async () => {
    const { world, operator } = await begin();
    const payees = Array.from({ length: 20 }, (_, i) => new Address(0, hash(`payee ${i}`)));
    const anchor = bodies.anchor({ epoch: 1n, earningsRoot: hash('e'), receiptsRoot: hash('r'), owed: 0n });
    const message = operator.sign(world, [
        [world.address, nano('0.01'), anchor],
        ...payees.map((payee) => [payee, nano('0.5'), bodies.comment('filature payout 1'), false]),
    ]);
    await world.chain.sendMessage(message);
    assert.equal((await world.ask('lastAnchor')).epoch, 1n);
    for (const payee of payees) assert.ok((await world.balance(payee)) > nano('0.4999'));
    const data = await world.data();
    await assert.rejects(world.chain.sendMessage(message), /not accepted/);
    assert.equal(await world.data(), data);
});

test("an anchor costs less than 0.0006 TON in a batch, with its share of the wallet's transaction", async () => {
    const { world, operator } = await begin();
    const batch = async (epoch, count) => {
        const anchor = bodies.anchor({ epoch, earningsRoot: hash('e'), receiptsRoot: hash('r'), owed: 0n });
        const pay = Array.from({ length: count }, (_, i) => [
            new Address(0, hash(`p${i}`)),
            nano('0.5'),
            undefined,
            false,
        ]);
        const { transactions } = await world.chain.sendMessage(
            operator.sign(world, [[world.address, nano('0.01'), anchor], ...pay]),
        );
        return fees(transactions);
    };
    await batch(1n, 1);
    const payments = Array.from({ length: 50 }, (_, i) => [
        new Address(0, hash(`p${i}`)),
        nano('0.5'),
        undefined,
        false,
    ]);
    const without = fees((await world.chain.sendMessage(operator.sign(world, payments))).transactions);
    const cost = (await batch(2n, 50)) - without;
    assert.equal((await world.ask('lastAnchor')).epoch, 2n);
    assert.ok(cost < nano('0.0006'), `${cost} nano`);
});

test('a provider with a new wallet is staked, claims and gets its stake back by itself', async () => {
    const { world, operator, alice, fund } = await begin();
    await fund(alice, nano(12));
    await world.chain.sendMessage(alice.sign(world, [[world.address, nano(11), bodies.stake(providerTag('alice'))]]));
    assert.equal((await world.ask('stakeOf', alice.address)).amount, nano(11) - constants.ENTRY_FEE);
    const epoch = await world.anchor(
        1n,
        [
            [alice.address, 'alice', nano(3), nano(1)],
            [world.bob, 'bob', nano(1), 0n],
        ],
        { from: operator.address },
    );
    const before = await world.balance(alice.address);
    const { transactions } = await world.chain.sendMessage(
        alice.sign(world, [[world.address, nano('0.05'), world.claim(epoch, 0)]]),
    );
    const gained = (await world.balance(alice.address)) - before;
    assert.ok(gained > nano(2) - nano('0.004'), `${nano(2) - gained} nano for a claim of 2 TON`);
    assert.ok(fees(transactions) < nano('0.004'));
    await world.chain.sendMessage(
        alice.sign(world, [[world.address, nano('0.05'), bodies.unstake(nano(11) - constants.ENTRY_FEE)]]),
    );
    world.pass(14 * DAY);
    await world.chain.sendMessage(alice.sign(world, [[world.address, nano('0.05'), bodies.withdraw()]]));
    assert.ok((await world.balance(alice.address)) > nano('13.9'));
    await world.checkSafe();
});
