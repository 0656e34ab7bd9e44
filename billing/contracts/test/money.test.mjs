// What must hold for every operation: too little value changes nothing, storage fees do not reach what is others'.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY, World, bodies, constants, hash, nano, providerTag, terms } from './kit.mjs';

const ALICE = providerTag('alice');
const BOB = providerTag('bob');

/** A world in which each of the operations below would be carried out, were its value sufficient. */
async function ready() {
    const world = await World.create();
    const epoch = await world.anchor(1n, [
        [world.alice, 'alice', nano(10), nano(4)],
        [world.bob, 'bob', nano(10), nano(4)],
        [world.carol, 'carol', nano(10), nano(4)],
        [world.stranger, 'stranger', nano(10), nano(4)],
    ]);
    const stake = (name) => world.ok(world[name], bodies.stake(providerTag(name)), { value: nano(100) });
    for (const name of ['alice', 'bob', 'carol', 'caller']) await stake(name);
    // bob's and carol's contests wait for an objection, stranger's has one.
    const contest = (name, index) => world.ok(world[name], world.contest(epoch, index, 0n), { value: nano(2) });
    await contest('bob', 1);
    await contest('stranger', 3);
    await world.ok(world.operator, bodies.object(providerTag('stranger')));
    // bob's slash waits for a dispute, carol's has one.
    for (const name of ['bob', 'carol']) await world.ok(world.owner, bodies.slash(world[name], nano(5), hash('why')));
    await world.ok(world.carol, bodies.dispute());
    await world.ok(world.caller, bodies.unstake(nano(20)));
    await world.ok(world.owner, bodies.proposeOwner(world.stranger));
    return { world, epoch };
}

/** Every operation: who sends what, after how long. */
const operations = ({ world, epoch }) => ({
    anchor: [
        world.operator,
        bodies.anchor({ epoch: 2n, earningsRoot: epoch.root, receiptsRoot: epoch.root, owed: 1n }),
    ],
    object: [world.operator, bodies.object(BOB)],
    draw: [world.operator, bodies.draw(nano(1), world.operator)],
    claim: [world.alice, world.claim(epoch, 0)],
    contest: [world.alice, world.contest(epoch, 0, 0n)],
    dropContest: [world.bob, bodies.dropContest(BOB)],
    closeContest: [world.stranger, bodies.closeContest(BOB), terms.answerDelay + 1],
    stake: [world.alice, bodies.stake(ALICE)],
    unstake: [world.alice, bodies.unstake(nano(1))],
    withdraw: [world.caller, bodies.withdraw(), terms.unstakeDelay],
    dispute: [world.bob, bodies.dispute()],
    closeSlash: [world.stranger, bodies.closeSlash(world.bob), terms.answerDelay + 1],
    ruleContest: [world.arbiter, bodies.ruleContest(providerTag('stranger'), nano(1))],
    ruleSlash: [world.arbiter, bodies.ruleSlash(world.carol, nano(1))],
    slash: [world.owner, bodies.slash(world.alice, nano(1), hash('why'))],
    dropSlash: [world.owner, bodies.dropSlash(world.bob)],
    setOperator: [world.owner, bodies.setOperator(world.bob)],
    setDrawLimit: [world.owner, bodies.setDrawLimit(1n)],
    pause: [world.owner, bodies.pause(60)],
    resume: [world.owner, bodies.resume()],
    proposeOwner: [world.owner, bodies.proposeOwner(world.bob)],
    proposeArbiter: [world.owner, bodies.proposeArbiter(world.bob)],
    acceptOwner: [world.stranger, bodies.acceptOwner()],
});

test('every operation with too little value, down to nothing, changes nothing and costs the contract nothing', async () => {
    const scene = await ready();
    const { world } = scene;
    const snapshot = world.chain.snapshot();
    const all = operations(scene);
    // Each operation of the contract is in the list.
    assert.equal(Object.keys(all).length, Object.keys(constants).filter((name) => /^OP_/.test(name)).length - 7);
    for (const [name, [sender, body, wait = 0]] of Object.entries(all)) {
        const least = name === 'anchor' ? constants.ANCHOR_VALUE : constants.OTHER_VALUE;
        for (const value of [1n, 10_000n, 100_000n, 300_000n, 600_000n, 1_000_000n, least - 1n]) {
            await world.chain.loadFrom(snapshot);
            world.pass(wait);
            // Time's own fee, first.
            await world.send(world.caller, bodies.comment('inv'), { value: nano(1) });
            const [data, balance] = [await world.data(), await world.balance()];
            const outcome = await world.send(sender, body, { value });
            assert.notEqual(outcome.exitCode, 0, `${name} with ${value}`);
            assert.equal(await world.data(), data, `${name} with ${value}`);
            assert.ok(
                (await world.balance()) >= balance,
                `${name} with ${value}: ${balance - (await world.balance())}`,
            );
        }
        await world.chain.loadFrom(snapshot);
        world.pass(wait);
        await world.ok(sender, body, { value: name === 'contest' ? nano(2) : nano('0.1') });
    }
});

test('no operation costs the payout money anything but what it is for', async () => {
    const scene = await ready();
    const { world } = scene;
    const snapshot = world.chain.snapshot();
    const spent = { draw: nano(1), closeContest: nano(10), ruleContest: nano(1), claim: nano(6) };
    for (const [name, [sender, body, wait = 0]] of Object.entries(operations(scene))) {
        await world.chain.loadFrom(snapshot);
        world.pass(wait);
        await world.send(world.caller, bodies.comment('inv'), { value: nano(1) });
        const { float } = await world.ask('money');
        await world.ok(sender, body, {
            value: name === 'contest' ? nano(2) : constants.OTHER_VALUE + (name === 'stake' ? 1n : 0n),
        });
        assert.ok((await world.ask('money')).float >= float - (spent[name] ?? 0n), name);
    }
});

test('at the prices before 2026, six times as high, the least values still cover every operation', async () => {
    const old = (await World.create({ config: 'default' })).chain.config;
    const scene = await ready();
    const { world } = scene;
    const snapshot = world.chain.snapshot();
    for (const [name, [sender, body, wait = 0]] of Object.entries(operations(scene))) {
        await world.chain.loadFrom(snapshot);
        world.chain.setConfig(old);
        world.pass(wait);
        const least = { anchor: constants.ANCHOR_VALUE, contest: nano(2), stake: constants.ENTRY_FEE + 1n }[name];
        const { float } = await world.ask('money');
        const outcome = await world.ok(sender, body, { value: least ?? constants.OTHER_VALUE });
        assert.ok(outcome.fees > nano('0.001'), `${name} at old prices: ${outcome.fees}`);
        const paid = { draw: nano(1), closeContest: nano(10), ruleContest: nano(1), claim: nano(6) }[name] ?? 0n;
        const storage = outcome.first.description.storagePhase.storageFeesCollected;
        assert.ok((await world.ask('money')).float >= float - paid - storage, name);
    }
});

test('years of storage fees are paid out of payout money and reserve, and every stake goes back', async () => {
    const world = await World.create({ funds: nano('1.2') });
    await world.anchor(1n, [[world.alice, 'alice', nano(1), 0n]]);
    for (const name of ['alice', 'bob', 'carol']) {
        await world.ok(world[name], bodies.stake(providerTag(name)), { value: nano(10) + constants.ENTRY_FEE });
    }
    const before = await world.balance();
    world.pass(365 * DAY);
    await world.send(world.caller, bodies.comment('inv'), { value: nano('0.0001') });
    const year = before - (await world.balance());
    assert.ok(year > 0n && year < nano('0.02'), `${year} nano a year`);
    await world.checkSafe();

    world.pass(49 * 365 * DAY);
    for (const name of ['alice', 'bob', 'carol']) await world.send(world[name], bodies.unstake(nano(10)));
    world.pass(terms.unstakeDelay);
    for (const name of ['alice', 'bob', 'carol']) {
        const held = await world.balance(world[name]);
        assert.equal((await world.send(world[name], bodies.withdraw())).exitCode, 0);
        assert.ok((await world.balance(world[name])) - held > nano(10));
    }
    assert.equal((await world.ask('money')).held, 0n);
});
