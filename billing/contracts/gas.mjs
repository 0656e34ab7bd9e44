// What each operation costs, at mainnet's prices of 2026, measured by the C++ executor: a table in Markdown.
//
// `npm run gas -- --write` puts it into README.md; a test compares both.
import { readFileSync, writeFileSync } from 'node:fs';
import { Dictionary, beginCell, storeMessage } from '@ton/core';
import { World, bodies, config, hash, nano, providerTag, terms } from './test/kit.mjs';

export const readmeFile = new URL('README.md', import.meta.url);
const [START, END] = ['<!-- gas -->\n', '<!-- /gas -->'];

/** How many other providers are in the tree and have claimed before, and how many others have staked. */
const CROWD = { accounts: 5000, stakes: 500 };

/** A contract in whose data so many others have claimed and staked. */
async function crowded({ accounts = 0, stakes = 0 }) {
    const world = await World.create({ funds: nano(10_000) });
    const contract = await world.chain.getContract(world.address);
    const shard = contract.account;
    const s = shard.account.storage.state.state.data.beginParse();
    const data = beginCell().storeAddress(s.loadAddress()).storeCoins(s.loadCoins()).storeRef(s.loadRef());
    data.storeBits(s.loadBits(32));
    const held = nano(10) * BigInt(stakes);
    s.loadCoins();
    data.storeCoins(held).storeCoins(s.loadCoins()).storeCoins(s.loadCoins());
    data.storeBits(s.loadBits(64)).storeCoins(s.loadCoins());
    s.skip(2);
    const account = (b) => b.storeCoins(nano('12.3')).storeBit(false);
    const stake = (b, i) => b.storeBuffer(tagOf(i)).storeCoins(nano(10)).storeCoins(0).storeUint(0, 32).storeBit(false);
    data.storeDict(dictionary(224, accounts, tagOf, account)).storeDict(
        dictionary(256, stakes, (i) => hash(`crowd ${i}`), stake),
    );
    shard.account.storage.state.state.data = data.storeRef(s.loadRef()).endCell();
    shard.account.storage.balance.coins += held;
    contract.account = shard;
    return world;
}

const tagOf = (i) => providerTag(`crowd ${i}`);

function dictionary(bits, size, key, write) {
    const value = { serialize: (i, builder) => write(builder, i), parse: () => undefined };
    const all = Dictionary.empty(Dictionary.Keys.BigUint(bits), value);
    for (let i = 0; i < size; i++) all.set(BigInt(`0x${key(i).toString('hex')}`), i);
    return all;
}

/** A list of [what, outcome], and a function that sends what must be carried out and adds to it. */
function list(world) {
    const measured = [];
    const send = async (from, body, options) => {
        const outcome = await world.send(from, body, options);
        if (outcome.exitCode !== 0) throw new Error(`exit code ${outcome.exitCode}`);
        return outcome;
    };
    const run = async (what, from, body, options) => measured.push([what, await send(from, body, options)]);
    return { measured, send, run };
}

/** Deposits, anchors, claims and contests; alice comes first in the tree, with the longest path. */
async function measurePayouts() {
    const world = await crowded({ accounts: CROWD.accounts });
    const { measured, send, run } = list(world);
    const others = Array.from({ length: CROWD.accounts - 1 }, (_, i) => [
        world.caller,
        `crowd ${i}`,
        nano(20),
        nano(1),
    ]);
    const anchor = async (what, epoch, earned) => {
        const anchored = await world.anchor(epoch, [[world.alice, 'alice', earned, nano(1)], ...others], {
            owed: nano(100),
        });
        measured.push([what, anchored.outcome]);
        return anchored;
    };
    const alice = providerTag('alice');
    await run('deposit', world.caller, bodies.comment('inv_01J8ZQ4M6T'), { value: nano(5) });
    await anchor('anchor, the first', 1n, nano(50));
    world.pass(60);
    const tree = await anchor('anchor', 2n, nano(60));
    await run(
        `claim, the first of a provider (path of ${tree.path(0).siblings.length})`,
        world.alice,
        world.claim(tree, 0),
    );
    world.pass(86_400);
    const next = await anchor('anchor, the first of a day', 3n, nano(70));
    await run('claim, a later one', world.alice, world.claim(next, 0));
    await run('contest', world.alice, world.contest(next, 0, 0n), { value: nano(2) });
    await run('object', world.operator, bodies.object(alice));
    await run('rule_contest', world.arbiter, bodies.ruleContest(alice, nano('0.5')));
    await send(world.alice, world.contest(next, 0, 0n), { value: nano(2) });
    await run('drop_contest', world.alice, bodies.dropContest(alice));
    await send(world.alice, world.contest(next, 0, 0n), { value: nano(2) });
    world.pass(terms.answerDelay + 1);
    await run('close_contest', world.stranger, bodies.closeContest(alice));
    return measured;
}

/** Stakes and slashes. */
async function measureStakes() {
    const world = await crowded({ stakes: CROWD.stakes });
    const { measured, send, run } = list(world);
    const slash = () => bodies.slash(world.bob, nano(5), hash('why'));
    const tag = providerTag('bob');
    await run('stake', world.bob, bodies.stake(tag), { value: nano(50) });
    await run('stake, more', world.bob, bodies.stake(tag), { value: nano(50) });
    await run('unstake', world.bob, bodies.unstake(nano(20)));
    await run('slash', world.owner, slash());
    await run('dispute', world.bob, bodies.dispute());
    await run('rule_slash', world.arbiter, bodies.ruleSlash(world.bob, nano(5)));
    await send(world.owner, slash());
    await run('drop_slash', world.owner, bodies.dropSlash(world.bob));
    await send(world.owner, slash());
    world.pass(terms.answerDelay + 1);
    await run('close_slash', world.stranger, bodies.closeSlash(world.bob));
    world.pass(terms.unstakeDelay);
    await run('withdraw', world.bob, bodies.withdraw());
    return measured;
}

/** What does not depend on how many providers there are. */
async function measureRoles() {
    const world = await World.create();
    const { measured, run } = list(world);
    await run('draw', world.operator, bodies.draw(nano(1), world.operator));
    await run('set_operator', world.owner, bodies.setOperator(world.operator));
    await run('set_draw_limit', world.owner, bodies.setDrawLimit(nano(100)));
    await run('pause', world.owner, bodies.pause(60));
    await run('resume', world.owner, bodies.resume());
    await run('propose_arbiter', world.owner, bodies.proposeArbiter(world.arbiter));
    await run('propose_owner', world.owner, bodies.proposeOwner(world.carol));
    await run('accept_owner', world.carol, bodies.acceptOwner());
    return measured;
}

const ton = (amount) => `0.${amount.toString().padStart(9, '0')}`;

/** The forward fee of the message that came in, which whoever sends it pays: by all of its cells but the root. */
function forwardFee(message) {
    const seen = new Map();
    const visit = (cell) => {
        for (const ref of cell.refs) {
            const id = ref.hash().toString('hex');
            if (!seen.has(id)) seen.set(id, ref.bits.length);
            visit(ref);
        }
    };
    visit(beginCell().store(storeMessage(message)).endCell());
    const bits = [...seen.values()].reduce((all, one) => all + one, 0);
    // Parameter 25: lump, bit and cell price, the latter two in 1/65536 nano.
    const prices = config
        .beginParse()
        .loadDictDirect(Dictionary.Keys.Int(32), Dictionary.Values.Cell())
        .get(25)
        .beginParse();
    prices.skip(8);
    const [lump, bit, cell] = [prices.loadUintBig(64), prices.loadUintBig(64), prices.loadUintBig(64)];
    return lump + (BigInt(bits) * bit + BigInt(seen.size) * cell + 65535n) / 65536n;
}

/** The table. Storage fees are left out: they depend on how long ago the message before was. */
export async function gasTable() {
    const measured = [...(await measurePayouts()), ...(await measureStakes()), ...(await measureRoles())];
    const lines = measured.map(([what, outcome]) => {
        const storage = outcome.own.reduce((all, tx) => all + tx.description.storagePhase.storageFeesCollected, 0n);
        const way = forwardFee(outcome.first.inMessage);
        return `| ${what} | ${outcome.gas} | ${ton(outcome.fees - storage)} | ${ton(way)} |`;
    });
    return ['| operation | gas | fees, TON | way there, TON |', '|---|---:|---:|---:|', ...lines, ''].join('\n');
}

/** The table as it stands in README.md. */
export function writtenTable(text = readFileSync(readmeFile, 'utf8')) {
    return text.slice(text.indexOf(START) + START.length, text.indexOf(END));
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
    const table = await gasTable();
    process.stdout.write(table);
    if (process.argv[2] === '--write') {
        const text = readFileSync(readmeFile, 'utf8');
        writeFileSync(
            readmeFile,
            text.replace(`${START}${writtenTable(text)}${END}`, () => `${START}${table}${END}`),
        );
    }
}
