// What each operation costs, at mainnet's prices of 2026, measured by the C++ executor: a table in Markdown.
//
// `npm run gas -- --write` puts it into README.md; a test compares both.
import { readFileSync, writeFileSync } from 'node:fs';
import { Dictionary, beginCell, storeMessage } from '@ton/core';
import { World, bodies, config, hash, nano, providerTag, terms } from './test/kit.mjs';

export const readmeFile = new URL('README.md', import.meta.url);
const [START, END] = ['<!-- gas -->\n', '<!-- /gas -->'];

/** How many other providers are in the tree and have claimed before, and how many of them have staked. */
const CROWD = 5000;
const STAKED = 500;

/** Puts their accounts and stakes into the contract's data, as so many claims and stakes would. */
async function crowd(world) {
    const account = await world.account();
    const s = account.state.data.beginParse();
    const cell = (write) => ({ serialize: (value, builder) => write(builder, value), parse: () => undefined });
    const accounts = Dictionary.empty(Dictionary.Keys.BigUint(224), cell((b) => b.storeCoins(nano('12.3')).storeBit(false)));
    const stakes = Dictionary.empty(
        Dictionary.Keys.BigUint(256),
        cell((b, i) => b.storeBuffer(providerTag(`crowd ${i}`)).storeCoins(nano(10)).storeCoins(0).storeUint(0, 32).storeBit(false)),
    );
    for (let i = 0; i < CROWD; i++) {
        accounts.set(BigInt(`0x${providerTag(`crowd ${i}`).toString('hex')}`), i);
        if (i < STAKED) stakes.set(BigInt(`0x${hash(`crowd ${i}`).toString('hex')}`), i);
    }
    const data = beginCell().storeAddress(s.loadAddress()).storeCoins(s.loadCoins());
    s.loadCoins();
    data.storeCoins(nano(10) * BigInt(STAKED)).storeCoins(s.loadCoins()).storeCoins(s.loadCoins());
    data.storeBits(s.loadBits(96)).storeCoins(s.loadCoins()).storeRef(s.loadRef());
    s.skip(2);
    data.storeDict(accounts).storeDict(stakes).storeRef(s.loadRef());
    const contract = await world.chain.getContract(world.address);
    const shard = contract.account;
    shard.account.storage.state.state.data = data.endCell();
    shard.account.storage.balance.coins += nano(10) * BigInt(STAKED);
    contract.account = shard;
}

/** A contract with its crowd, and the rows of a tree in which alice comes first, with the longest path. */
async function begin() {
    const world = await World.create({ funds: nano(10_000) });
    await crowd(world);
    const rows = (earned) => [
        [world.alice, 'alice', earned, nano(1)],
        ...Array.from({ length: CROWD - 1 }, (_, i) => [world.caller, `crowd ${i}`, nano(20), nano(1)]),
    ];
    return { world, rows };
}

/** Measures: [what, outcome] for each operation, in an order in which all are carried out. */
async function measure() {
    const { world, rows } = await begin();
    const measured = [];
    const send = async (from, body, options) => {
        const outcome = await world.send(from, body, options);
        if (outcome.exitCode !== 0) throw new Error(`exit code ${outcome.exitCode}`);
        return outcome;
    };
    const run = async (what, from, body, options) => measured.push([what, await send(from, body, options)]);
    const anchor = (epoch, earned) => world.anchor(epoch, rows(earned), { owed: nano(100) });
    const tag = (name) => providerTag(name);

    await run('deposit', world.caller, bodies.comment('inv_01J8ZQ4M6T'), { value: nano(5) });
    const first = await anchor(1n, nano(50));
    measured.push(['anchor, the first', first.outcome]);
    world.pass(60);
    const tree = await anchor(2n, nano(60));
    measured.push(['anchor', tree.outcome]);
    world.pass(86_400);
    const next = await anchor(3n, nano(70));
    measured.push(['anchor, the first of a day', next.outcome]);
    await run(`claim, the first of a provider (path of ${next.path(0).siblings.length})`, world.alice, world.claim(next, 0));
    const more = await anchor(4n, nano(80));
    await run('claim, a later one', world.alice, world.claim(more, 0));
    await run('contest', world.alice, world.contest(more, 0, 0n), { value: nano(2) });
    await run('object', world.operator, bodies.object(tag('alice')));
    await run('rule_contest', world.arbiter, bodies.ruleContest(tag('alice'), nano('0.5')));
    await run('contest, again', world.alice, world.contest(more, 0, 0n), { value: nano(2) });
    await run('drop_contest', world.alice, bodies.dropContest(tag('alice')));
    await send(world.alice, world.contest(more, 0, 0n), { value: nano(2) });
    world.pass(terms.answerDelay + 1);
    await run('close_contest', world.stranger, bodies.closeContest(tag('alice')));

    await run('stake', world.bob, bodies.stake(tag('bob')), { value: nano(50) });
    await run('stake, more', world.bob, bodies.stake(tag('bob')), { value: nano(50) });
    await run('unstake', world.bob, bodies.unstake(nano(20)));
    await run('slash', world.owner, bodies.slash(world.bob, nano(5), hash('why')));
    await run('dispute', world.bob, bodies.dispute());
    await run('rule_slash', world.arbiter, bodies.ruleSlash(world.bob, nano(5)));
    await send(world.owner, bodies.slash(world.bob, nano(5), hash('why')));
    await run('drop_slash', world.owner, bodies.dropSlash(world.bob));
    await send(world.owner, bodies.slash(world.bob, nano(5), hash('why')));
    world.pass(terms.answerDelay + 1);
    await run('close_slash', world.stranger, bodies.closeSlash(world.bob));
    world.pass(terms.unstakeDelay);
    await run('withdraw', world.bob, bodies.withdraw());

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
    const prices = config.beginParse().loadDictDirect(Dictionary.Keys.Int(32), Dictionary.Values.Cell()).get(25).beginParse();
    prices.skip(8);
    const [lump, bit, cell] = [prices.loadUintBig(64), prices.loadUintBig(64), prices.loadUintBig(64)];
    return lump + (BigInt(bits) * bit + BigInt(seen.size) * cell + 65535n) / 65536n;
}

/** The table. Storage fees are left out: they depend on how long ago the message before was. */
export async function gasTable() {
    const lines = (await measure()).map(([what, outcome]) => {
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
        writeFileSync(readmeFile, text.replace(`${START}${writtenTable(text)}${END}`, () => `${START}${table}${END}`));
    }
}
