import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@ton/core';
import { DAY, World, bodies, constants, hash, nano, providerTag, refuser, terms } from './kit.mjs';

const STRANGERS = ['operator', 'arbiter', 'alice', 'stranger'];

test('the get-methods say who may do what, and what cannot be changed', async () => {
    const world = await World.create();
    const roles = await world.ask('roles');
    assert.equal(roles.owner.toString(), world.owner.toString());
    assert.equal(roles.operator.toString(), world.operator.toString());
    assert.equal(roles.arbiter.toString(), world.arbiter.toString());
    assert.deepEqual(
        [roles.nextOwner, roles.nextArbiter, roles.nextArbiterAt, roles.drawLimit],
        [null, null, 0, nano(100)],
    );
    const { forfeitTo, ...rest } = await world.ask('terms');
    assert.equal(forfeitTo.toString(), world.forfeit.toString());
    assert.deepEqual(rest, terms);
    const { stack } = await world.chain.runGetMethod(world.address, 'version', []);
    assert.equal(stack[0].value, 1n);
});

test('everything an owner may do, nobody else may', async () => {
    const world = await World.create();
    const all = [
        bodies.setOperator(world.bob),
        bodies.setDrawLimit(nano(1)),
        bodies.pause(60),
        bodies.resume(),
        bodies.proposeOwner(world.bob),
        bodies.proposeArbiter(world.bob),
    ];
    for (const body of all) {
        for (const sender of STRANGERS) await world.refused('SENDER', world[sender], body);
        await world.refused('VALUE', world.owner, body, { value: constants.OTHER_VALUE - 1n });
    }
    for (const body of all) {
        const done = await world.ok(world.owner, body);
        assert.deepEqual(
            done.sent.map((one) => [one.to, one.op]),
            [[world.owner.toString(), constants.OP_EXCESSES]],
        );
        assert.ok(done.sent[0].value > nano('0.048'), 'what is left of the value goes back');
    }
});

test('an owner changes in two steps', async () => {
    const world = await World.create();
    await world.refused('NONE', world.bob, bodies.acceptOwner());
    await world.ok(world.owner, bodies.proposeOwner(world.bob));
    assert.equal((await world.ask('roles')).nextOwner.toString(), world.bob.toString());
    for (const sender of ['stranger', 'owner', 'operator'])
        await world.refused('SENDER', world[sender], bodies.acceptOwner());
    await world.refused('SENDER', world.bob, bodies.pause(60));
    await world.ok(world.bob, bodies.acceptOwner());
    const roles = await world.ask('roles');
    assert.equal(roles.owner.toString(), world.bob.toString());
    assert.equal(roles.nextOwner, null);
    await world.refused('SENDER', world.owner, bodies.pause(60));
    await world.refused('NONE', world.bob, bodies.acceptOwner());
    await world.ok(world.bob, bodies.setDrawLimit(0n));
});

test('a proposed owner can be replaced or taken back', async () => {
    const world = await World.create();
    await world.ok(world.owner, bodies.proposeOwner(world.bob));
    await world.ok(world.owner, bodies.proposeOwner(world.carol));
    await world.refused('SENDER', world.bob, bodies.acceptOwner());
    await world.ok(world.owner, bodies.proposeOwner(null));
    await world.refused('NONE', world.carol, bodies.acceptOwner());
    await world.refused('WORKCHAIN', world.owner, bodies.proposeOwner(new Address(-1, world.bob.hash)));
});

test('a new operator anchors, the old one no more', async () => {
    const world = await World.create();
    await world.anchor(1n, []);
    await world.refused('WORKCHAIN', world.owner, bodies.setOperator(new Address(-1, world.bob.hash)));
    await world.ok(world.owner, bodies.setOperator(world.bob));
    const next = { epoch: 2n, earningsRoot: hash('e'), receiptsRoot: hash('r'), owed: 0n };
    await world.refused('SENDER', world.operator, bodies.anchor(next));
    await world.refused('SENDER', world.operator, bodies.draw(1n, world.operator));
    await world.ok(world.bob, bodies.anchor(next));
});

test('a new arbiter rules only after a delay', async () => {
    const world = await World.create();
    await world.ok(world.alice, bodies.stake(providerTag('alice')), { value: nano(100) });
    const accuse = async () => {
        await world.ok(world.owner, bodies.slash(world.alice, nano(5), hash('why')));
        await world.ok(world.alice, bodies.dispute());
    };
    await world.ok(world.owner, bodies.proposeArbiter(world.bob));
    const waiting = await world.ask('roles');
    assert.equal(waiting.arbiter.toString(), world.arbiter.toString());
    assert.equal(waiting.nextArbiter.toString(), world.bob.toString());
    assert.equal(waiting.nextArbiterAt, world.now + terms.arbiterDelay);
    await accuse();
    await world.refused('SENDER', world.bob, bodies.ruleSlash(world.alice, nano(5)));
    await world.ok(world.arbiter, bodies.ruleSlash(world.alice, 0n));
    world.pass(terms.arbiterDelay);
    assert.equal((await world.ask('roles')).arbiter.toString(), world.bob.toString());
    await accuse();
    await world.refused('SENDER', world.arbiter, bodies.ruleSlash(world.alice, 0n));
    await world.ok(world.bob, bodies.ruleSlash(world.alice, nano(5)));
    // A proposal whose time has come stays when another is made, and one that waits can be taken back.
    await world.ok(world.owner, bodies.proposeArbiter(world.carol));
    await world.ok(world.owner, bodies.proposeArbiter(null));
    world.pass(terms.arbiterDelay + 1);
    assert.equal((await world.ask('roles')).arbiter.toString(), world.bob.toString());
    await world.refused('WORKCHAIN', world.owner, bodies.proposeArbiter(new Address(-1, world.bob.hash)));
});

test('a pause stops what pays out and is not a stake, and ends by itself', async () => {
    const world = await World.create();
    const other = await world.anchor(2n, [
        [world.alice, 'alice', nano(5), 0n],
        [world.bob, 'bob', nano(5), nano(5)],
    ]);
    await world.ok(world.bob, world.contest(other, 1, 0n), { value: nano(2) });
    await world.ok(world.owner, bodies.pause(terms.pauseMax));
    assert.equal((await world.ask('pauseState')).until, world.now + terms.pauseMax);
    const stopped = [
        [world.alice, world.claim(other, 0)],
        [world.operator, bodies.draw(1n, world.operator)],
        [world.stranger, bodies.closeContest(providerTag('bob'))],
        [world.stranger, bodies.closeSlash(world.alice)],
        [world.arbiter, bodies.ruleContest(providerTag('bob'), nano(1))],
        [world.arbiter, bodies.ruleSlash(world.alice, nano(1))],
    ];
    for (const [sender, body] of stopped) await world.refused('PAUSED', sender, body);
    world.pass(DAY);
    // What goes on: deposits, anchors, stakes, answers.
    await world.ok(world.operator, bodies.object(providerTag('bob')));
    await world.ok(
        world.operator,
        bodies.anchor({ epoch: 3n, earningsRoot: other.root, receiptsRoot: hash('r'), owed: 0n }),
    );
    await world.ok(world.caller, bodies.comment('inv_1'), { value: nano(1) });
    await world.ok(world.alice, bodies.stake(providerTag('alice')), { value: nano(20) });
    await world.ok(world.alice, bodies.unstake(nano(1)));
    world.pass(terms.pauseMax - DAY - 1);
    await world.refused('PAUSED', world.alice, world.claim(other, 0));
    world.pass(1);
    await world.ok(world.alice, world.claim(other, 0));
    assert.equal((await world.ask('pauseState')).until, 0);
});

test("after a theft of the operator's key, a pause gives time for a right root", async () => {
    const world = await World.create();
    const right = [[world.alice, 'alice', nano(5), 0n]];
    await world.anchor(1n, right);
    const forged = await world.anchor(2n, [[world.stranger, 'thief', nano(900), 0n]], { owed: 2n ** 64n - 1n });
    await world.ok(world.owner, bodies.pause(terms.pauseMax));
    await world.refused('PAUSED', world.stranger, world.claim(forged, 0));
    await world.ok(world.owner, bodies.setOperator(world.bob));
    const again = bodies.anchor({ epoch: 3n, earningsRoot: forged.root, receiptsRoot: hash('r'), owed: 0n });
    await world.refused('SENDER', world.operator, again);
    const repaired = await world.anchor(3n, right, { from: world.bob });
    await world.ok(world.owner, bodies.resume());
    await world.refused('PROOF', world.stranger, world.claim(forged, 0));
    await world.ok(world.alice, world.claim(repaired, 0));
    assert.ok((await world.ask('money')).drawable > nano(900));
});

test('a pause is neither too long nor too soon after the one before', async () => {
    const world = await World.create();
    await world.refused('PAUSE', world.owner, bodies.pause(0));
    await world.refused('PAUSE', world.owner, bodies.pause(terms.pauseMax + 1));
    await world.refused('PAUSE', world.owner, bodies.pause(2 ** 32 - 1));
    await world.ok(world.owner, bodies.pause(3600));
    const { notBefore } = await world.ask('pauseState');
    assert.equal(notBefore, world.now + 3600 + terms.pauseGap);
    // Not prolonged, not while it lasts, not after an early end.
    await world.refused('EARLY', world.owner, bodies.pause(3600));
    await world.ok(world.owner, bodies.resume());
    assert.deepEqual(await world.ask('pauseState'), { until: 0, notBefore });
    await world.refused('EARLY', world.owner, bodies.pause(3600));
    // Nor does a new owner or a change of owner help.
    await world.ok(world.owner, bodies.proposeOwner(world.bob));
    await world.ok(world.bob, bodies.acceptOwner());
    await world.refused('EARLY', world.bob, bodies.pause(3600));
    world.chain.now = notBefore - 1;
    await world.refused('EARLY', world.bob, bodies.pause(3600));
    world.pass(1);
    await world.ok(world.bob, bodies.pause(3600));
});

test('in a year of pauses a claim is possible for three days in four', async () => {
    const world = await World.create();
    let open = 0;
    for (let day = 0; day < 365; day++) {
        await world.send(world.owner, bodies.pause(terms.pauseMax));
        if ((await world.ask('pauseState')).until === 0) open++;
        world.pass(DAY);
    }
    assert.ok(open >= 365 * 0.72, `${open} days`);
});

test('the operator draws to itself, up to the limit of a day', async () => {
    const world = await World.create();
    const before = await world.balance(world.operator);
    await world.ok(world.operator, bodies.draw(nano(60), world.operator));
    assert.ok((await world.balance(world.operator)) - before > nano('60'));
    await world.refused('AMOUNT', world.operator, bodies.draw(nano(40) + 1n, world.operator));
    await world.ok(world.operator, bodies.draw(nano(40), world.operator));
    await world.refused('AMOUNT', world.operator, bodies.draw(1n, world.operator));
    world.pass(DAY);
    await world.ok(world.operator, bodies.draw(nano(100), world.operator));
    await world.refused('SENDER', world.operator, bodies.draw(1n, world.stranger));
    for (const sender of ['stranger', 'arbiter', 'alice']) {
        await world.refused('SENDER', world[sender], bodies.draw(1n, world[sender]));
        await world.refused('SENDER', world[sender], bodies.draw(1n, world.operator));
    }
    await world.ok(world.owner, bodies.setDrawLimit(0n));
    world.pass(DAY);
    await world.refused('AMOUNT', world.operator, bodies.draw(1n, world.operator));
});

test('the owner draws anywhere in the basechain, but nothing that providers are owed', async () => {
    const world = await World.create();
    await world.ok(world.alice, bodies.stake(providerTag('alice')), { value: nano(300) });
    await world.anchor(1n, [[world.alice, 'alice', nano(700), 0n]]);
    const { drawable, float } = await world.ask('money');
    assert.equal(drawable, float - nano(700));
    await world.refused('UNDERFUNDED', world.owner, bodies.draw(drawable + 1n, world.stranger));
    await world.refused('UNDERFUNDED', world.owner, bodies.draw(2n ** 119n, world.stranger));
    await world.refused('AMOUNT', world.owner, bodies.draw(0n, world.stranger));
    await world.refused('WORKCHAIN', world.owner, bodies.draw(1n, new Address(-1, world.owner.hash)));
    await world.refused('VALUE', world.owner, bodies.draw(1n, world.owner), { value: constants.OTHER_VALUE - 1n });
    await world.ok(world.owner, bodies.draw(drawable, world.stranger));
    assert.equal((await world.ask('money')).float, nano(700));
    await world.refused('UNDERFUNDED', world.owner, bodies.draw(1n, world.owner));
});

test('a draw that comes back is payout money again, and changes nothing else', async () => {
    const world = await World.create();
    const to = await refuser(world);
    const before = await world.ask('money');
    const data = await world.data();
    const drawn = await world.ok(world.owner, bodies.draw(nano(50), to));
    assert.equal(drawn.own.length, 2);
    assert.equal(await world.data(), data);
    assert.ok((await world.ask('money')).float > before.float - nano('0.01'));
});
