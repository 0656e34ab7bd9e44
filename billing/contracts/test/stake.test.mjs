import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World, bodies, constants, hash, nano, providerTag, terms } from './kit.mjs';

const ALICE = providerTag('alice');
const REASON = hash('served another model than it sold');

/** alice with 100 staked. */
async function staked() {
    const world = await World.create();
    await world.ok(world.alice, bodies.stake(ALICE), { value: nano(100) + constants.ENTRY_FEE });
    return world;
}

const slash = (world, amount = nano(40)) => world.ok(world.owner, bodies.slash(world.alice, amount, REASON));

test('a stake is its value less the fee, stands for a provider, and is not payout money', async () => {
    const world = await World.create();
    const { float } = await world.ask('money');
    await world.ok(world.alice, bodies.stake(ALICE), { value: nano(100) + constants.ENTRY_FEE });
    const stake = await world.ask('stakeOf', world.alice);
    assert.deepEqual([stake.provider, stake.amount, stake.leaving, stake.leavesAt], [ALICE, nano(100), 0n, 0]);
    const money = await world.ask('money');
    assert.equal(money.held, nano(100));
    assert.ok(money.float >= float && money.float < float + constants.ENTRY_FEE);
    assert.equal(await world.ask('stakeOf', world.bob), null);
});

test('a stake grows, for the same provider only', async () => {
    const world = await staked();
    await world.ok(world.alice, bodies.stake(ALICE), { value: nano(1) + constants.ENTRY_FEE });
    assert.equal((await world.ask('stakeOf', world.alice)).amount, nano(101));
    await world.refused('PROVIDER', world.alice, bodies.stake(providerTag('bob')), { value: nano(20) });
    // Another wallet may stake for the same provider; it touches nothing of alice's.
    await world.ok(world.stranger, bodies.stake(ALICE), { value: nano(20) });
    assert.equal((await world.ask('stakeOf', world.alice)).amount, nano(101));
});

test('a stake below the least is refused, and so is one from outside the basechain', async () => {
    const world = await World.create();
    const least = terms.stakeMin + constants.ENTRY_FEE;
    await world.refused('VALUE', world.alice, bodies.stake(ALICE), { value: least - 1n });
    await world.refused('VALUE', world.alice, bodies.stake(ALICE), { value: nano('0.019') });
    const master = await world.person('master', -1);
    await world.refused('WORKCHAIN', master, bodies.stake(ALICE), { value: nano(20) });
    await world.ok(world.alice, bodies.stake(ALICE), { value: least });
});

test('unstaked money goes back after the delay, all of it', async () => {
    const world = await staked();
    await world.refused('NONE', world.alice, bodies.withdraw());
    const asked = await world.ok(world.alice, bodies.unstake(nano(100)));
    assert.equal(asked.sent[0].op, constants.OP_EXCESSES);
    assert.equal((await world.ask('stakeOf', world.alice)).leavesAt, world.now + terms.unstakeDelay);
    await world.refused('EARLY', world.alice, bodies.withdraw());
    world.pass(terms.unstakeDelay - 1);
    await world.refused('EARLY', world.alice, bodies.withdraw());
    world.pass(1);
    const before = await world.balance(world.alice);
    const back = await world.ok(world.alice, bodies.withdraw());
    assert.deepEqual(
        back.sent.map((one) => [one.to, one.op]),
        [[world.alice.toString(), constants.OP_STAKE_BACK]],
    );
    assert.ok((await world.balance(world.alice)) - before > nano(100));
    assert.equal(await world.ask('stakeOf', world.alice), null);
    assert.equal((await world.ask('money')).held, 0n);
    await world.refused('NONE', world.alice, bodies.withdraw());
    await world.refused('NONE', world.alice, bodies.unstake(1n));
});

test('part of a stake can go; what stays is not below the least', async () => {
    const world = await staked();
    await world.refused('AMOUNT', world.alice, bodies.unstake(0n));
    await world.refused('AMOUNT', world.alice, bodies.unstake(nano(100) + 1n));
    await world.refused('AMOUNT', world.alice, bodies.unstake(2n ** 100n));
    await world.refused('AMOUNT', world.alice, bodies.unstake(nano(100) - terms.stakeMin + 1n));
    await world.ok(world.alice, bodies.unstake(nano(50)));
    world.pass(terms.unstakeDelay);
    // Asking for more starts the delay anew for all that is leaving.
    await world.ok(world.alice, bodies.unstake(nano(10)));
    await world.refused('EARLY', world.alice, bodies.withdraw());
    world.pass(terms.unstakeDelay);
    await world.ok(world.alice, bodies.withdraw());
    assert.equal((await world.ask('stakeOf', world.alice)).amount, nano(40));
    assert.equal((await world.ask('money')).held, nano(40));
});

test("nobody moves another's stake", async () => {
    const world = await staked();
    for (const sender of ['owner', 'operator', 'arbiter', 'stranger']) {
        for (const body of [bodies.unstake(1n), bodies.withdraw(), bodies.dispute()]) {
            await world.refused('NONE', world[sender], body);
        }
    }
});

test('a namesake in the masterchain moves nothing of a stake', async () => {
    const world = await staked();
    await slash(world);
    const namesake = await world.person('alice', -1);
    for (const body of [bodies.unstake(nano(50)), bodies.withdraw(), bodies.dispute()]) {
        await world.refused('WORKCHAIN', namesake, body, { value: nano(1) });
    }
});

test('only the owner slashes', async () => {
    const world = await staked();
    for (const sender of ['operator', 'arbiter', 'alice', 'stranger']) {
        await world.refused('SENDER', world[sender], bodies.slash(world.alice, nano(1), REASON));
    }
    await world.refused('NONE', world.owner, bodies.slash(world.bob, nano(1), REASON));
    await world.refused('AMOUNT', world.owner, bodies.slash(world.alice, nano(100) + 1n, REASON));
    await world.refused('AMOUNT', world.owner, bodies.slash(world.alice, 0n, REASON));
});

test('a slash that is not disputed is carried out after the delay, to where the terms say', async () => {
    const world = await staked();
    await slash(world);
    const open = await world.ask('slashOf', world.alice);
    assert.deepEqual(open, {
        amount: nano(40),
        reason: REASON.toString('hex'),
        deadline: world.now + terms.answerDelay,
        disputed: false,
    });
    await world.refused('CASE_OPEN', world.owner, bodies.slash(world.alice, nano(1), REASON));
    await world.refused('EARLY', world.owner, bodies.closeSlash(world.alice));
    await world.refused('EARLY', world.arbiter, bodies.ruleSlash(world.alice, nano(1)));
    world.pass(terms.answerDelay);
    await world.refused('EARLY', world.owner, bodies.closeSlash(world.alice));
    world.pass(1);
    const [float, before] = [(await world.ask('money')).float, await world.balance(world.forfeit)];
    const closed = await world.ok(world.stranger, bodies.closeSlash(world.alice));
    assert.deepEqual(
        closed.sent.map((one) => [one.to, one.op]),
        [[world.forfeit.toString(), constants.OP_FORFEIT]],
    );
    assert.ok((await world.balance(world.forfeit)) - before > nano(40));
    const money = await world.ask('money');
    assert.equal(money.held, nano(60));
    assert.ok(money.float <= float, 'nothing of a stake becomes payout money');
    assert.equal((await world.ask('stakeOf', world.alice)).amount, nano(60));
    await world.refused('NONE', world.stranger, bodies.closeSlash(world.alice));
});

test("a disputed slash is the arbiter's, who may uphold it in part", async () => {
    const world = await staked();
    await slash(world);
    await world.ok(world.alice, bodies.dispute());
    await world.refused('CASE_OPEN', world.alice, bodies.dispute());
    for (const sender of ['owner', 'operator', 'alice', 'stranger']) {
        await world.refused('SENDER', world[sender], bodies.ruleSlash(world.alice, nano(40)));
    }
    await world.refused('AMOUNT', world.arbiter, bodies.ruleSlash(world.alice, nano(40) + 1n));
    world.pass(terms.answerDelay + 1);
    await world.refused('EARLY', world.owner, bodies.closeSlash(world.alice));
    await world.ok(world.arbiter, bodies.ruleSlash(world.alice, nano(15)));
    assert.equal((await world.ask('stakeOf', world.alice)).amount, nano(85));
});

test('the arbiter may dismiss a slash, and a silent arbiter does', async () => {
    const world = await staked();
    await slash(world);
    await world.ok(world.alice, bodies.dispute());
    const dismissed = await world.ok(world.arbiter, bodies.ruleSlash(world.alice, 0n));
    assert.equal(dismissed.sent[0].op, constants.OP_EXCESSES);
    await slash(world);
    await world.ok(world.alice, bodies.dispute());
    world.pass(terms.rulingDelay);
    await world.refused('EARLY', world.alice, bodies.closeSlash(world.alice));
    world.pass(1);
    await world.refused('LATE', world.arbiter, bodies.ruleSlash(world.alice, nano(40)));
    await world.ok(world.alice, bodies.closeSlash(world.alice));
    assert.equal((await world.ask('stakeOf', world.alice)).amount, nano(100));
    assert.equal(await world.ask('slashOf', world.alice), null);
});

test('a dispute too late is none, and the owner may drop a slash', async () => {
    const world = await staked();
    await slash(world);
    world.pass(terms.answerDelay + 1);
    await world.refused('LATE', world.alice, bodies.dispute());
    for (const sender of ['operator', 'arbiter', 'alice'])
        await world.refused('SENDER', world[sender], bodies.dropSlash(world.alice));
    await world.ok(world.owner, bodies.dropSlash(world.alice));
    await world.refused('NONE', world.owner, bodies.dropSlash(world.alice));
    assert.equal((await world.ask('stakeOf', world.alice)).amount, nano(100));
});

test('a slash reaches what is leaving, and keeps it here while it is open', async () => {
    const world = await staked();
    await world.ok(world.alice, bodies.unstake(nano(100)));
    world.pass(terms.unstakeDelay - 1);
    await slash(world, nano(100));
    world.pass(1);
    await world.refused('CASE_OPEN', world.alice, bodies.withdraw());
    await world.ok(world.alice, bodies.dispute());
    await world.refused('CASE_OPEN', world.alice, bodies.withdraw());
    await world.ok(world.arbiter, bodies.ruleSlash(world.alice, nano(30)));
    const before = await world.balance(world.alice);
    await world.ok(world.alice, bodies.withdraw());
    assert.ok((await world.balance(world.alice)) - before > nano(70));
    assert.equal(await world.ask('stakeOf', world.alice), null);
});

test('money whose time to leave has come cannot be slashed: no chain of slashes keeps it for ever', async () => {
    const world = await staked();
    await world.ok(world.alice, bodies.unstake(nano(90)));
    world.pass(terms.unstakeDelay - 1);
    await slash(world, nano(100));
    await world.ok(world.alice, bodies.dispute());
    world.pass(terms.rulingDelay + 1);
    await world.ok(world.alice, bodies.closeSlash(world.alice));
    await world.refused('AMOUNT', world.owner, bodies.slash(world.alice, nano(10) + 1n, REASON));
    await world.ok(world.owner, bodies.slash(world.alice, nano(10), REASON));
    await world.ok(world.owner, bodies.dropSlash(world.alice));
    await world.ok(world.alice, bodies.withdraw());
});

test('a slash of all leaves no stake behind', async () => {
    const world = await staked();
    await slash(world, nano(100));
    await world.ok(world.alice, bodies.unstake(nano(60)));
    world.pass(terms.answerDelay + 1);
    await world.ok(world.owner, bodies.closeSlash(world.alice));
    assert.equal(await world.ask('stakeOf', world.alice), null);
    assert.equal((await world.ask('money')).held, 0n);
});

test('a stake pays neither draws nor contests', async () => {
    const world = await World.create({ funds: nano('1.5') });
    await world.ok(world.alice, bodies.stake(ALICE), { value: nano(500) });
    await world.refused('UNDERFUNDED', world.owner, bodies.draw(nano(1), world.owner));
    await world.refused('UNDERFUNDED', world.operator, bodies.draw(nano(1), world.operator));
    const epoch = await world.anchor(1n, [[world.bob, 'bob', nano(5), nano(5)]]);
    await world.ok(world.bob, world.contest(epoch, 0, 0n), { value: nano(2) });
    world.pass(terms.answerDelay + 1);
    await world.refused('UNDERFUNDED', world.bob, bodies.closeContest(providerTag('bob')));
    await world.ok(world.alice, bodies.unstake((await world.ask('stakeOf', world.alice)).amount));
    world.pass(terms.unstakeDelay);
    await world.ok(world.alice, bodies.withdraw());
});

test('a stake goes back although the contract is paused, and although it has no payout money', async () => {
    const world = await World.create({ funds: nano('1.01') });
    await world.ok(world.alice, bodies.stake(ALICE), { value: nano(20) + constants.ENTRY_FEE });
    await world.ok(world.alice, bodies.unstake(nano(20)));
    world.pass(terms.unstakeDelay);
    await world.ok(world.owner, bodies.pause(terms.pauseMax));
    await world.ok(world.alice, bodies.withdraw());
});
