import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY, World, bodies, constants, nano, providerTag, refuser, terms } from './kit.mjs';

const ALICE = providerTag('alice');
const BOND = { value: nano(2) };

/** An operator that says it pushed all of alice's 10, and did not. */
async function overReported() {
    const world = await World.create();
    const epoch = await world.anchor(1n, [
        [world.alice, 'alice', nano(10), nano(10)],
        [world.bob, 'bob', nano(4), 0n],
    ]);
    return { world, epoch };
}

test('what the operator says it pushed and did not is paid after its silence', async () => {
    const { world, epoch } = await overReported();
    await world.refused('NOTHING_DUE', world.alice, world.claim(epoch, 0));
    await world.ok(world.alice, world.contest(epoch, 0, nano(1)), BOND);
    const contest = await world.ask('contestOf', ALICE);
    assert.deepEqual(
        [contest.payee.toString(), contest.locked, contest.bond, contest.deadline, contest.objected],
        [world.alice.toString(), nano(9), nano(2) - constants.ENTRY_FEE, world.now + terms.answerDelay, false],
    );
    const money = await world.ask('money');
    assert.equal(money.contested, nano(9));
    assert.equal(money.held, contest.bond);

    world.pass(terms.answerDelay);
    await world.refused('EARLY', world.alice, bodies.closeContest(ALICE));
    world.pass(1);
    const before = await world.balance(world.alice);
    const closed = await world.ok(world.stranger, bodies.closeContest(ALICE));
    assert.deepEqual(
        closed.sent.map((one) => [one.to, one.op]),
        [
            [world.alice.toString(), constants.OP_BOND_BACK],
            [world.alice.toString(), constants.OP_PAYOUT],
        ],
    );
    assert.ok((await world.balance(world.alice)) - before > nano('10.97'), 'nine, and the bond');
    assert.equal(await world.ask('contestOf', ALICE), null);
    assert.equal(await world.ask('claimedOf', ALICE), nano(9));
    const after = await world.ask('money');
    assert.deepEqual([after.contested, after.held], [0n, 0n]);
    // What a contest pays is claimed: the next leaf counts on from there.
    await world.refused('NONE', world.alice, bodies.closeContest(ALICE));
    const next = await world.anchor(2n, [[world.alice, 'alice', nano(12), nano(1)]]);
    await world.ok(world.alice, world.claim(next, 0));
    assert.equal(await world.ask('claimedOf', ALICE), nano(11));
});

test('an objection leaves it to the arbiter, who may find for the payee in part', async () => {
    const { world, epoch } = await overReported();
    await world.ok(world.alice, world.contest(epoch, 0, 0n), BOND);
    await world.refused('EARLY', world.arbiter, bodies.ruleContest(ALICE, nano(1)));
    await world.ok(world.operator, bodies.object(ALICE));
    await world.refused('CASE_OPEN', world.operator, bodies.object(ALICE));
    world.pass(terms.answerDelay + 1);
    await world.refused('EARLY', world.alice, bodies.closeContest(ALICE));
    await world.refused('AMOUNT', world.arbiter, bodies.ruleContest(ALICE, nano(10) + 1n));
    const before = await world.balance(world.alice);
    await world.ok(world.arbiter, bodies.ruleContest(ALICE, nano(6)));
    assert.ok((await world.balance(world.alice)) - before > nano('7.97'));
    assert.equal(await world.ask('claimedOf', ALICE), nano(6));
    assert.deepEqual([(await world.ask('money')).held, (await world.ask('money')).contested], [0n, 0n]);
});

test('a contest that the arbiter finds wholly wrong costs its bond, which the operator does not get', async () => {
    const { world, epoch } = await overReported();
    await world.ok(world.alice, world.contest(epoch, 0, 0n), BOND);
    await world.ok(world.owner, bodies.object(ALICE));
    const { float } = await world.ask('money');
    const before = await world.balance(world.forfeit);
    const ruled = await world.ok(world.arbiter, bodies.ruleContest(ALICE, 0n));
    assert.deepEqual(
        ruled.sent.map((one) => [one.to, one.op]),
        [[world.forfeit.toString(), constants.OP_FORFEIT]],
    );
    assert.ok((await world.balance(world.forfeit)) - before > nano('1.97'));
    const money = await world.ask('money');
    assert.deepEqual([money.float, money.held, money.contested, money.claimed], [float, 0n, 0n, 0n]);
});

test('a silent arbiter means that the payee is paid', async () => {
    const { world, epoch } = await overReported();
    await world.ok(world.alice, world.contest(epoch, 0, 0n), BOND);
    await world.ok(world.operator, bodies.object(ALICE));
    world.pass(terms.rulingDelay);
    await world.refused('EARLY', world.stranger, bodies.closeContest(ALICE));
    world.pass(1);
    await world.refused('LATE', world.arbiter, bodies.ruleContest(ALICE, 0n));
    await world.ok(world.stranger, bodies.closeContest(ALICE));
    assert.equal(await world.ask('claimedOf', ALICE), nano(10));
});

test('an objection too late is none', async () => {
    const { world, epoch } = await overReported();
    await world.ok(world.alice, world.contest(epoch, 0, 0n), BOND);
    world.pass(terms.answerDelay + 1);
    await world.refused('LATE', world.operator, bodies.object(ALICE));
});

test('strangers neither contest, object, rule nor drop', async () => {
    const { world, epoch } = await overReported();
    for (const sender of ['bob', 'stranger', 'operator']) {
        await world.refused('SENDER', world[sender], world.contest(epoch, 0, 0n), BOND);
    }
    await world.ok(world.alice, world.contest(epoch, 0, 0n), BOND);
    for (const sender of ['alice', 'stranger', 'arbiter'])
        await world.refused('SENDER', world[sender], bodies.object(ALICE));
    await world.ok(world.operator, bodies.object(ALICE));
    for (const sender of ['alice', 'operator', 'owner', 'stranger']) {
        await world.refused('SENDER', world[sender], bodies.ruleContest(ALICE, nano(1)));
    }
    for (const sender of ['operator', 'owner', 'stranger']) {
        await world.refused('SENDER', world[sender], bodies.dropContest(ALICE));
    }
    for (const body of [bodies.object, bodies.closeContest, bodies.dropContest]) {
        await world.refused('NONE', world.operator, body(providerTag('bob')));
    }
});

test('a namesake in the masterchain neither contests nor drops, and no leaf there is contested', async () => {
    const { world, epoch } = await overReported();
    const namesake = await world.person('alice', -1);
    assert.deepEqual(namesake.hash, world.alice.hash);
    await world.refused('WORKCHAIN', namesake, world.contest(epoch, 0, 0n), BOND);
    await world.ok(world.alice, world.contest(epoch, 0, 0n), BOND);
    await world.refused('SENDER', namesake, bodies.dropContest(ALICE), { value: nano(1) });
    const there = await world.anchor(2n, [[namesake, 'another', nano(10), 0n]]);
    await world.refused('WORKCHAIN', world.alice, world.contest(there, 0, 0n), BOND);
});

test('a contest can be taken back, with its bond', async () => {
    const { world, epoch } = await overReported();
    await world.ok(world.alice, world.contest(epoch, 0, 0n), BOND);
    await world.ok(world.operator, bodies.object(ALICE));
    const before = await world.balance(world.alice);
    await world.ok(world.alice, bodies.dropContest(ALICE));
    assert.ok((await world.balance(world.alice)) - before > nano('1.97'));
    assert.deepEqual([(await world.ask('money')).held, (await world.ask('money')).contested], [0n, 0n]);
    await world.ok(world.alice, world.contest(epoch, 0, 0n), BOND);
});

test('one contest of a provider at a time, for something that is due, with a bond', async () => {
    const { world, epoch } = await overReported();
    await world.refused('NOTHING_DUE', world.alice, world.contest(epoch, 0, nano(10)), BOND);
    await world.refused('NOTHING_DUE', world.alice, world.contest(epoch, 0, 2n ** 64n - 1n), BOND);
    await world.refused('VALUE', world.alice, world.contest(epoch, 0, 0n), {
        value: terms.bondMin + constants.ENTRY_FEE - 1n,
    });
    await world.ok(world.alice, world.contest(epoch, 0, 0n), { value: terms.bondMin + constants.ENTRY_FEE });
    await world.refused('CASE_OPEN', world.alice, world.contest(epoch, 0, 0n), BOND);
    assert.ok(epoch);
});

test('where the terms ask for no bond, it still covers its own way back', async () => {
    const world = await World.create({ terms: { bondMin: 0n } });
    const epoch = await world.anchor(1n, [[world.alice, 'alice', nano(10), nano(10)]]);
    const least = 2n * constants.ENTRY_FEE;
    await world.refused('VALUE', world.alice, world.contest(epoch, 0, 0n), { value: least - 1n });
    await world.ok(world.alice, world.contest(epoch, 0, 0n), { value: least });
    world.pass(terms.answerDelay + 1);
    await world.ok(world.stranger, bodies.closeContest(ALICE));
});

test('a root whose successor was never published still counts, for some days', async () => {
    const world = await World.create();
    const known = await world.anchor(1n, [
        [world.alice, 'alice', nano(10), 0n],
        [world.bob, 'bob', nano(4), 0n],
    ]);
    world.pass(DAY);
    // Nobody but the operator knows the leaves of this one.
    await world.anchor(2n, [[world.stranger, 'unknown', 1n, 0n]]);
    await world.refused('PROOF', world.alice, world.claim(known, 0));
    await world.ok(world.alice, world.contest(known, 0, 0n), BOND);
    await world.refused('PROOF', world.bob, world.contest({ ...known, epoch: 2n }, 1, 0n), BOND);
    await world.refused('EPOCH', world.bob, world.contest({ ...known, epoch: 3n }, 1, 0n), BOND);
    // Hundreds of anchors of one day push out nothing.
    for (let epoch = 3n; epoch < 12n; epoch++) await world.anchor(epoch, []);
    await world.ok(world.bob, world.contest(known, 1, 0n), BOND);
    world.pass(terms.answerDelay + 1);
    await world.ok(world.alice, bodies.closeContest(ALICE));
    assert.equal(await world.ask('claimedOf', ALICE), nano(10));
});

test('what was claimed while a contest was open is not paid again', async () => {
    const { world, epoch } = await overReported();
    await world.ok(world.alice, world.contest(epoch, 0, 0n), BOND);
    const truth = await world.anchor(2n, [[world.alice, 'alice', nano(10), nano(3)]]);
    await world.ok(world.alice, world.claim(truth, 0));
    world.pass(terms.answerDelay + 1);
    await world.ok(world.stranger, bodies.closeContest(ALICE));
    assert.equal(await world.ask('claimedOf', ALICE), nano(10));

    await world.ok(
        world.alice,
        world.contest(await world.anchor(3n, [[world.alice, 'alice', nano(11), 0n]]), 0, 0n),
        BOND,
    );
    await world.ok(world.alice, world.claim(await world.anchor(4n, [[world.alice, 'alice', nano(12), 0n]]), 0));
    world.pass(terms.answerDelay + 1);
    await world.ok(world.stranger, bodies.closeContest(ALICE));
    assert.equal(await world.ask('claimedOf', ALICE), nano(12));
});

test('a contest above the payout money stays open until there is more, and draws leave its money alone', async () => {
    const world = await World.create({ funds: nano(9) });
    const epoch = await world.anchor(1n, [[world.alice, 'alice', nano(10), nano(10)]]);
    await world.ok(world.alice, world.contest(epoch, 0, 0n), BOND);
    await world.refused('UNDERFUNDED', world.owner, bodies.draw(1n, world.owner));
    world.pass(terms.answerDelay + 1);
    await world.refused('UNDERFUNDED', world.stranger, bodies.closeContest(ALICE), { value: nano(50) });
    await world.ok(world.caller, bodies.comment('inv_1'), { value: nano(5) });
    await world.refused('UNDERFUNDED', world.owner, bodies.draw(nano(4), world.owner));
    await world.ok(world.stranger, bodies.closeContest(ALICE));
});

test('a contested payout that the payee refuses is due again', async () => {
    const world = await World.create();
    const payee = await refuser(world);
    const epoch = await world.anchor(1n, [[payee, 'alice', nano(10), nano(10)]]);
    await world.ok(payee, world.contest(epoch, 0, 0n), BOND);
    world.pass(terms.answerDelay + 1);
    await world.ok(world.stranger, bodies.closeContest(ALICE), { value: constants.OTHER_VALUE });
    assert.equal(await world.ask('contestOf', ALICE), null);
    assert.ok((await world.ask('claimedOf', ALICE)) < nano('0.01'));
    assert.equal((await world.ask('money')).held, 0n);
});
