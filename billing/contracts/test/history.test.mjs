// Random histories: whatever happens in whatever order, the money is where it belongs.
//
// FILATURE_SEED repeats one history; FILATURE_HISTORIES sets how many.
import assert from 'node:assert/strict';
import { createHash, randomInt } from 'node:crypto';
import { test } from 'node:test';
import { Dictionary } from '@ton/core';
import { DAY, World, bodies, constants, hash, nano, providerTag, refuser, terms } from './kit.mjs';

const STEPS = 200;
const HISTORIES = Number(process.env.FILATURE_HISTORIES ?? 2);

/** Numbers that a seed repeats. */
class Dice {
    constructor(seed) {
        this.seed = seed;
        this.count = 0;
    }

    /** From 0 up to and without `below`. */
    roll(below) {
        const bytes = createHash('sha256').update(`${this.seed} ${this.count++}`).digest();
        return Number(bytes.readBigUInt64BE() % BigInt(below));
    }

    pick(list) {
        return list[this.roll(list.length)];
    }

    /** An amount up to `most`, often one of the ends. */
    amount(most) {
        if (most <= 0n || this.roll(10) === 0) return 0n;
        return this.roll(4) === 0 ? most : (most * BigInt(this.roll(1000) + 1)) / 1000n;
    }
}

/** The contract's data, read without its get-methods: what providers were paid, what is staked, what cases hold. */
async function books(world) {
    const s = (await world.account()).state.data.beginParse();
    s.loadAddress();
    const owed = s.loadCoins();
    const anchors = s.loadRef().beginParse();
    s.skip(32);
    const [held, contested, claimed] = [s.loadCoins(), s.loadCoins(), s.loadCoins()];
    s.skip(64);
    s.loadCoins();
    const epoch = { count: anchors.loadUint(32), number: anchors.loadUintBig(64) };
    const values = (read) => ({ serialize() {}, parse: read });
    const accounts = s.loadDict(
        Dictionary.Keys.BigUint(224),
        values((a) => ({ claimed: a.loadCoins(), contest: a.loadMaybeRef() })),
    );
    const stakes = s.loadDict(
        Dictionary.Keys.BigUint(256),
        values((a) => {
            a.skip(224);
            return { amount: a.loadCoins(), leaving: a.loadCoins(), leavesAt: a.loadUint(32), slash: a.loadMaybeRef() };
        }),
    );
    const contests = accounts
        .values()
        .filter(({ contest }) => contest !== null)
        .map(({ contest }) => {
            const c = contest.beginParse();
            c.skip(256);
            return { total: c.loadCoins(), locked: c.loadCoins(), bond: c.loadCoins() };
        });
    const balance = await world.balance();
    const float = balance - held - constants.RESERVE;
    return { balance, float, owed, held, contested, claimed, epoch, accounts, stakes, contests };
}

const sum = (amounts) => amounts.reduce((all, amount) => all + amount, 0n);

/** What holds at any moment. */
function checkBooks(now, entitled) {
    assert.ok(now.balance >= now.held + constants.RESERVE, 'stakes, bonds and reserve are there');
    const staked = now.stakes.values().map(({ amount, leaving }) => amount + leaving);
    assert.equal(now.held, sum(staked) + sum(now.contests.map(({ bond }) => bond)), 'held is stakes and bonds');
    assert.equal(now.contested, sum(now.contests.map(({ locked }) => locked)), 'contested is what contests ask for');
    assert.equal(
        now.claimed,
        sum(now.accounts.values().map(({ claimed }) => claimed)),
        'claimed is what providers were paid',
    );
    for (const [tag, { claimed }] of now.accounts) {
        assert.ok(claimed <= (entitled.get(tag) ?? 0n), 'nobody was paid more than it ever proved');
    }
}

const key = (tag) => BigInt(`0x${tag.toString('hex')}`);

/** What people know: the last trees, and what each provider could prove so far. */
async function begin(dice) {
    const world = await World.create({ funds: nano(200), drawLimit: nano(50) });
    const people = [world.alice, world.bob, world.carol, await refuser(world)];
    const providers = people.map((payee, i) => ({ id: `provider ${i}`, payee, earned: 0n, pushed: 0n }));
    return { world, dice, people, providers, trees: [], entitled: new Map(), epoch: 0n };
}

/** An anchor of an operator that now and then says that it pushed more than it did, or takes earnings back. */
async function anchor(state) {
    const { world, dice, providers } = state;
    for (const provider of providers) {
        provider.earned += dice.amount(nano(10));
        if (dice.roll(3) === 0) provider.pushed = dice.amount(provider.earned + nano(1));
        if (dice.roll(20) === 0) provider.earned = dice.amount(provider.earned);
    }
    state.epoch += BigInt(dice.pick([1, 1, 1, 3, 0]));
    const rows = providers.map(({ payee, id, earned, pushed }) => [payee, id, earned, pushed]);
    try {
        const tree = await world.anchor(state.epoch, rows, { owed: dice.amount(nano(60)) });
        state.trees.push(tree);
        for (const leaf of tree.leaves) prove(state, leaf.provider, leaf.earned - leaf.pushed);
    } catch (error) {
        if (error.code !== 'ERR_ASSERTION' || !/exit code/.test(error.message)) throw error;
    }
}

function prove({ entitled }, tag, amount) {
    if (amount > (entitled.get(key(tag)) ?? 0n)) entitled.set(key(tag), amount);
}

/** Mostly those of `all` that `wanted` is true of, if there are any: blind shots hit open cases too seldom. */
function aimed(dice, all, wanted) {
    const some = all.filter(wanted);
    return dice.pick(some.length > 0 && dice.roll(8) > 0 ? some : all);
}

/** A random message: its sender, body and value, and what it draws if it is carried out. */
function message(state, now) {
    const { world, dice, people, providers } = state;
    const who = dice.roll(10) === 0 ? dice.pick([world.stranger, world.operator, world.owner]) : dice.pick(people);
    const provider = aimed(dice, providers, ({ id }) => now.accounts.get(key(providerTag(id)))?.contest);
    const tag = providerTag(provider.id);
    const stakeOf = (wallet) => now.stakes.get(key(wallet.hash));
    const staker = aimed(dice, people, stakeOf);
    const leaver = aimed(dice, people, (wallet) => stakeOf(wallet)?.leaving > 0n);
    const accused = aimed(dice, people, (wallet) => stakeOf(wallet)?.slash);
    const tree = state.trees.length > 0 && dice.pick(state.trees.slice(dice.roll(4) === 0 ? -3 : -1));
    const value = dice.pick([nano('0.02'), nano('0.05'), nano('0.05'), nano(2), nano(30)]);
    const by = (role) => (dice.roll(12) === 0 ? who : world[role]);
    const index = dice.roll(providers.length);
    const choices = [
        () => [who, bodies.comment('inv')],
        () => tree && [who, world.claim(tree, index, { bounceable: dice.roll(2) === 0 })],
        () => tree && [who, world.claim(tree, index)],
        () => tree && [who, world.claim(tree, index)],
        () => {
            if (!tree) return null;
            const received = dice.amount(tree.leaves[index].earned);
            prove(state, tree.leaves[index].provider, tree.leaves[index].earned - received);
            return [dice.roll(8) === 0 ? who : tree.leaves[index].payee, world.contest(tree, index, received)];
        },
        () => [by('operator'), bodies.object(tag)],
        () => [who, bodies.closeContest(tag)],
        () => [by('arbiter'), bodies.ruleContest(tag, dice.amount(nano(8)))],
        () => [dice.roll(4) === 0 ? provider.payee : who, bodies.dropContest(tag)],
        () => [who, bodies.stake(who.hash.subarray(0, 28))],
        () => [who, bodies.stake(tag)],
        () => [staker, bodies.unstake(dice.amount(stakeOf(staker)?.amount ?? nano(60)))],
        () => [leaver, bodies.withdraw()],
        () => [by('owner'), bodies.slash(staker, dice.amount(nano(40)), hash('why'))],
        () => [accused, bodies.dispute()],
        () => [by('arbiter'), bodies.ruleSlash(accused, dice.amount(nano(20)))],
        () => [who, bodies.closeSlash(accused)],
        () => [by('owner'), bodies.dropSlash(accused)],
        () => {
            const amount = dice.amount(nano(70));
            const from = dice.pick(['operator', 'owner', 'stranger']);
            return [world[from], bodies.draw(amount, from === 'owner' ? dice.pick(people) : world[from]), amount];
        },
        () => (dice.roll(6) === 0 ? [by('owner'), bodies.pause(DAY)] : [by('owner'), bodies.resume()]),
    ];
    const chosen = dice.pick(choices)();
    return chosen ? { sender: chosen[0], body: chosen[1], drawn: chosen[2] ?? 0n, value } : null;
}

/** One step, and what must hold of it. */
async function step(state) {
    const { world, dice } = state;
    if (dice.roll(4) === 0) world.pass(dice.pick([60, DAY, terms.answerDelay + 1, terms.unstakeDelay]));
    if (dice.roll(5) === 0) return anchor(state);
    const [before, data] = [await books(world), await world.data()];
    const next = message(state, before);
    if (next === null) return undefined;
    const outcome = await world.send(next.sender, next.body, { value: next.value });
    const after = await books(world);
    checkBooks(after, state.entitled);

    const storage = sum(outcome.own.map((tx) => tx.description.storagePhase.storageFeesCollected));
    if (outcome.exitCode !== 0) assert.equal(await world.data(), data, 'what is refused changes nothing');
    const drawn = outcome.exitCode === 0 ? next.drawn : 0n;
    if (drawn > 0n) assert.ok(after.float + storage >= after.owed + after.contested, 'a draw leaves what is owed');
    const paid = after.claimed > before.claimed ? after.claimed - before.claimed : 0n;
    assert.ok(after.float >= before.float - paid - drawn - storage, 'payout money goes to claims and draws only');
    assert.ok(
        after.held >= before.held || sent(outcome) >= before.held - after.held - nano('0.01'),
        'stakes and bonds go to somebody',
    );
    return outcome.exitCode;
}

/** What went back to who staked, or to where forfeited money goes. */
function sent(outcome) {
    const back = [constants.OP_STAKE_BACK, constants.OP_BOND_BACK, constants.OP_FORFEIT];
    return sum(outcome.sent.filter(({ op }) => back.includes(op)).map(({ value }) => value));
}

for (let history = 0; history < HISTORIES; history++) {
    const seed = process.env.FILATURE_SEED ?? String(randomInt(2 ** 40));
    test(`money stays where it belongs in the history of FILATURE_SEED=${seed}`, async (t) => {
        const state = await begin(new Dice(seed));
        const codes = new Map();
        for (let i = 0; i < STEPS; i++) {
            const code = await step(state);
            codes.set(code, (codes.get(code) ?? 0) + 1);
        }
        t.diagnostic(`exit codes: ${[...codes].map(([code, count]) => `${code ?? 'anchor'} × ${count}`).join(', ')}`);
        assert.ok((codes.get(0) ?? 0) > STEPS / 20, 'something was carried out');
    });
}
