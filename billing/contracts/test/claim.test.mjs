import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Cell } from '@ton/core';
import { internal } from '@ton/sandbox';
import { leafBytes, leafHash } from '../js/merkle.mjs';
import { World, bodies, constants, hash, nano, providerTag, refuser } from './kit.mjs';

const two = (world) => [
    [world.alice, 'alice', nano(10), nano(3)],
    [world.bob, 'bob', nano(20), 0n],
];

test('a claim pays what was earned and not pushed, to the payee, whoever sends it', async () => {
    const world = await World.create();
    const epoch = await world.anchor(1n, two(world));
    const before = { alice: await world.balance(world.alice), money: await world.ask('money') };
    const claimed = await world.ok(world.stranger, world.claim(epoch, 0));
    const [payout, ...more] = claimed.sent;
    assert.deepEqual(more, []);
    assert.equal(payout.to, world.alice.toString());
    assert.equal(payout.op, constants.OP_PAYOUT);
    assert.ok(payout.value > nano(7) && payout.value < nano('7.05'), 'the payout and what was left of the value');
    assert.ok((await world.balance(world.alice)) - before.alice > nano(7));
    assert.equal(await world.ask('claimedOf', providerTag('alice')), nano(7));
    const money = await world.ask('money');
    assert.equal(money.claimed, nano(7));
    assert.equal(before.money.owed - money.owed, nano(7));
    // To the nano: the sender pays all fees.
    assert.equal(before.money.float - money.float, nano(7));
});

test('a second claim of the same finds nothing due', async () => {
    const world = await World.create();
    const epoch = await world.anchor(1n, two(world));
    await world.ok(world.alice, world.claim(epoch, 0));
    await world.refused('NOTHING_DUE', world.alice, world.claim(epoch, 0));
    await world.refused('NOTHING_DUE', world.stranger, world.claim(epoch, 0, { bounceable: false, queryId: 9n }));
    await world.ok(world.bob, world.claim(epoch, 1));
    await world.refused('NOTHING_DUE', world.alice, world.claim(epoch, 0));
});

test('a later epoch pays only what came on top', async () => {
    const world = await World.create();
    const first = await world.anchor(1n, two(world));
    await world.ok(world.alice, world.claim(first, 0));
    const second = await world.anchor(2n, [[world.alice, 'alice', nano(15), nano(5)]], { owed: nano(3) });
    await world.ok(world.alice, world.claim(second, 0));
    assert.equal(await world.ask('claimedOf', providerTag('alice')), nano(10));
    assert.equal((await world.ask('money')).owed, 0n);
});

test('what was pushed beyond what was earned pays nothing', async () => {
    const world = await World.create();
    const epoch = await world.anchor(1n, [
        [world.alice, 'alice', nano(5), nano(6)],
        [world.bob, 'bob', 0n, 0n],
    ]);
    await world.refused('NOTHING_DUE', world.alice, world.claim(epoch, 0));
    await world.refused('NOTHING_DUE', world.bob, world.claim(epoch, 1));
});

test('a change of payee does not pay twice', async () => {
    const world = await World.create();
    const first = await world.anchor(1n, [[world.alice, 'alice', nano(10), 0n]]);
    await world.ok(world.alice, world.claim(first, 0));
    const second = await world.anchor(2n, [[world.carol, 'alice', nano(12), 0n]]);
    const claimed = await world.ok(world.carol, world.claim(second, 0));
    assert.equal(claimed.sent[0].to, world.carol.toString());
    assert.ok(claimed.sent[0].value < nano('2.05'));
});

test("a proof of another epoch's root, of another's leaf, or of a leaf made up is refused", async () => {
    const world = await World.create();
    const first = await world.anchor(1n, two(world));
    const second = await world.anchor(2n, [
        [world.alice, 'alice', nano(11), nano(3)],
        [world.bob, 'bob', nano(20), 0n],
    ]);
    await world.refused('PROOF', world.alice, world.claim(first, 0));
    const [alice, bob] = second.leaves;
    const path = second.path(0);
    for (const forged of [
        { ...alice, earned: alice.earned + 1n },
        { ...alice, pushed: 0n },
        { ...alice, payee: world.stranger },
        { ...alice, provider: providerTag('mallory') },
        bob,
    ]) {
        await world.refused('PROOF', world.stranger, bodies.claim(forged, path));
    }
    await world.refused('PROOF', world.stranger, bodies.claim(alice, second.path(1)));
    await world.refused('PROOF', world.stranger, bodies.claim(alice, { ...path, sides: 1 }));
    await world.refused('PROOF', world.stranger, bodies.claim(alice, { ...path, siblings: [] }));
    await world.refused(
        'PROOF',
        world.stranger,
        bodies.claim(alice, { ...path, siblings: [...path.siblings, hash('x')] }),
    );
    await world.ok(world.alice, bodies.claim(alice, path));
});

test('before any anchor nothing can be proved, not even the empty tree', async () => {
    const world = await World.create();
    const leaf = { payee: world.alice, provider: providerTag('a'), earned: 1n, pushed: 0n };
    const claim = bodies.claim(leaf, { sides: 0, siblings: [] });
    await world.refused('PROOF', world.alice, claim);
    await world.anchor(1n, []);
    await world.refused('PROOF', world.alice, claim);
});

test('a node cannot pass for a leaf, nor a leaf for a node', async () => {
    const world = await World.create();
    // The best attempt: a leaf whose 77 bytes begin as a node's 65 do.
    const epoch = await world.anchor(1n, two(world));
    const node = Buffer.concat([Buffer.of(1), hash('left'), hash('right'), Buffer.alloc(12)]);
    await world.refused('WORKCHAIN', world.alice, bodies.claim(node, epoch.path(0)));
});

test('malformed paths are refused', async () => {
    const world = await World.create();
    const rows = Array.from({ length: 40 }, (_, i) => [world.alice, `p${i}`, nano(1), 0n]);
    const epoch = await world.anchor(1n, rows);
    const path = epoch.path(17);
    assert.equal(path.siblings.length, 6);
    const leaf = epoch.leaves[17];
    // A path of 33 levels; sides beyond the depth; more siblings in cells than the depth says; fewer.
    await world.refused('PROOF', world.alice, bodies.claim(leaf, { ...path, siblings: Array(33).fill(hash('s')) }));
    await world.refused('PROOF', world.alice, bodies.claim(leaf, { ...path, sides: path.sides | (1 << 20) }));
    const withDepth = (depth) => {
        const body = bodies.claim(leaf, path);
        const at = 32 + 64 + 1 + 77 * 8;
        const bits = [...Array(body.bits.length).keys()].map((i) => body.bits.at(i));
        for (let i = 0; i < 8; i++) bits[at + i] = ((depth >> (7 - i)) & 1) === 1;
        const cell = bits.reduce((builder, bit) => builder.storeBit(bit), new Cell().asBuilder());
        return body.refs.reduce((builder, ref) => builder.storeRef(ref), cell).endCell();
    };
    for (const depth of [0, 1, 3, 5]) await world.refused('PROOF', world.alice, withDepth(depth));
    await world.refused('PROOF', world.alice, withDepth(9));
    await world.refused('PROOF', world.alice, withDepth(255));
    // A row with something after its siblings, and a row after the last.
    const withPath = (change) => {
        const body = bodies.claim(leaf, path);
        const rows = [body.refs[0], body.refs[0].refs[0]].map((row) => new Cell().asBuilder().storeBits(row.bits));
        change(rows);
        const first = rows.reduceRight((next, row) => row.storeRef(next.endCell()));
        return new Cell().asBuilder().storeBits(body.bits).storeRef(first.endCell()).endCell();
    };
    await world.refused(
        'PROOF',
        world.alice,
        withPath((rows) => rows[0].storeBit(true)),
    );
    await world.refused(
        'PROOF',
        world.alice,
        withPath((rows) => rows[1].storeUint(0, 255)),
    );
    await world.refused(
        'PROOF',
        world.alice,
        withPath((rows) => rows.push(new Cell().asBuilder())),
    );
    await world.ok(
        world.alice,
        withPath(() => {}),
    );
    await world.refused('NOTHING_DUE', world.alice, withDepth(6));
});

test('a path may have 32 levels, on either side, and no more', async () => {
    const world = await World.create();
    const leaf = { payee: world.alice, provider: providerTag('alice'), earned: nano(1), pushed: 0n };
    const siblings = Array.from({ length: 33 }, (_, i) => hash(`sibling ${i}`));
    const one = Buffer.of(1);
    const climb = (levels, sides) =>
        siblings.slice(0, levels).reduce(
            (node, sibling, i) => {
                const pair = (sides >>> i) & 1 ? [one, sibling, node] : [one, node, sibling];
                return hash(Buffer.concat(pair));
            },
            leafHash(leafBytes(leaf)),
        );
    const sides = 0xc0ffee11;
    const anchor = (epoch, root) => bodies.anchor({ epoch, earningsRoot: root, receiptsRoot: root, owed: 0n });
    await world.ok(world.operator, anchor(1n, climb(33, 0)));
    await world.refused('PROOF', world.alice, bodies.claim(leaf, { sides: 0, siblings }));
    await world.ok(world.operator, anchor(2n, climb(32, sides)));
    await world.ok(world.alice, bodies.claim(leaf, { sides, siblings: siblings.slice(0, 32) }));
});

test('every leaf of every small tree is paid with its own path', async () => {
    const world = await World.create({ funds: nano(5000) });
    for (const size of [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17]) {
        const rows = Array.from({ length: size }, (_, i) => [
            world.alice,
            `provider ${size} ${i}`,
            nano(1) + BigInt(i),
            0n,
        ]);
        const epoch = await world.anchor(BigInt(size), rows);
        for (let i = 0; i < size; i++) {
            await world.ok(world.alice, world.claim(epoch, i));
            assert.equal(await world.ask('claimedOf', epoch.leaves[i].provider), nano(1) + BigInt(i));
        }
    }
});

test('a payee outside the basechain is refused', async () => {
    const world = await World.create();
    const master = new Address(-1, world.alice.hash);
    const epoch = await world.anchor(1n, [
        [master, 'alice', nano(1), 0n],
        [new Address(5, world.alice.hash), 'bob', nano(1), 0n],
    ]);
    await world.refused('WORKCHAIN', world.alice, world.claim(epoch, 0));
    await world.refused('WORKCHAIN', world.alice, world.claim(epoch, 1));
});

test('a claim above the payout money is refused and can be repeated when there is more', async () => {
    const world = await World.create({ funds: nano(1 + 10) });
    const epoch = await world.anchor(1n, [
        [world.alice, 'alice', nano(12), 0n],
        [world.bob, 'bob', nano(9), 0n],
    ]);
    await world.refused('UNDERFUNDED', world.alice, world.claim(epoch, 0));
    // Not by one nano, and not out of the value of the claim itself.
    await world.refused('UNDERFUNDED', world.alice, world.claim(epoch, 0), { value: nano(100) });
    await world.ok(world.bob, world.claim(epoch, 1));
    await world.refused('UNDERFUNDED', world.alice, world.claim(epoch, 0));
    await world.ok(world.caller, bodies.comment('inv_1'), { value: nano(11) });
    await world.ok(world.alice, world.claim(epoch, 0));
});

test('exactly the payout money can be claimed, and not one nano more', async () => {
    const world = await World.create({ funds: nano(50) });
    const anchor = (amount) =>
        world.anchor(
            1n,
            [
                [world.alice, 'alice', amount, 0n],
                [world.bob, 'bob', amount + 1n, 0n],
            ],
            { owed: 0n },
        );
    // The anchor's own remains join the payout money: once to see how much they are.
    const before = world.chain.snapshot();
    await anchor(nano(40));
    const { float } = await world.ask('money');
    await world.chain.loadFrom(before);
    const epoch = await anchor(float);
    await world.refused('UNDERFUNDED', world.bob, world.claim(epoch, 1));
    await world.ok(world.alice, world.claim(epoch, 0));
    assert.equal((await world.ask('money')).float, 0n);
});

test('stakes do not pay claims', async () => {
    const world = await World.create({ funds: nano(2) });
    await world.ok(world.bob, bodies.stake(providerTag('bob')), { value: nano(500) });
    const epoch = await world.anchor(1n, [[world.alice, 'alice', nano(5), 0n]]);
    await world.refused('UNDERFUNDED', world.alice, world.claim(epoch, 0));
});

test('a payout that the payee refuses is due again, less its fees, which nobody else pays', async () => {
    const world = await World.create();
    const payee = await refuser(world);
    const epoch = await world.anchor(1n, [[payee, 'refuser', nano(10), 0n]]);
    const before = await world.ask('money');
    const claimed = await world.ok(world.stranger, world.claim(epoch, 0));
    assert.equal(claimed.own.length, 2, 'the payout came back');
    const left = await world.ask('claimedOf', providerTag('refuser'));
    // The sender's remaining value came back with it: all of the ten are due again.
    assert.equal(left, 0n);
    const after = await world.ask('money');
    assert.ok(after.float >= before.float);
    assert.equal(after.claimed, 0n);
    assert.equal(after.owed, nano(10));
    await world.ok(world.stranger, world.claim(epoch, 0));
});

test('a payout that comes back lighter than it left is credited lighter', async () => {
    const world = await World.create();
    const payee = await refuser(world, 'burns a million gas');
    const epoch = await world.anchor(1n, [[payee, 'refuser', nano(10), 0n]]);
    const before = await world.ask('money');
    await world.ok(world.stranger, world.claim(epoch, 0), { value: constants.CLAIM_VALUE });
    const lost = await world.ask('claimedOf', providerTag('refuser'));
    assert.ok(lost > nano('0.04') && lost < nano('0.07'), `${lost} of it were burnt`);
    const after = await world.ask('money');
    assert.ok(after.float + lost >= before.float, "what was burnt was not the payee's");
    assert.equal(after.claimed, lost);
    assert.equal(after.owed, nano(10) - lost);
});

test('refused payouts cannot be used to drain the payout money', async () => {
    const world = await World.create();
    const payee = await refuser(world);
    const epoch = await world.anchor(1n, [[payee, 'refuser', nano(10), 0n]]);
    const before = (await world.ask('money')).float;
    for (let i = 0; i < 20; i++)
        await world.ok(world.stranger, world.claim(epoch, 0), { value: constants.CLAIM_VALUE });
    const claimed = await world.ask('claimedOf', providerTag('refuser'));
    assert.ok((await world.ask('money')).float + claimed >= before);
});

test('a payee that does not exist yet is paid without bounce, and sends the money back with it', async () => {
    const world = await World.create();
    const payee = new Address(0, hash('a wallet not deployed yet'));
    const epoch = await world.anchor(1n, [[payee, 'new', nano(10), 0n]]);
    const bounced = await world.ok(world.stranger, world.claim(epoch, 0));
    assert.equal(bounced.own.length, 2);
    assert.equal(await world.balance(payee), 0n);
    const paid = await world.ok(world.stranger, world.claim(epoch, 0, { bounceable: false }));
    assert.equal(paid.own.length, 1);
    assert.ok((await world.balance(payee)) >= nano(10));
});

test('a bounced flag on a message that nobody bounced credits nothing to a provider without claims', async () => {
    const world = await World.create();
    await world.anchor(1n, two(world));
    const data = await world.data();
    // The chain clears the flag on what contracts send; were it not so, there is nothing to gain.
    const body = new Cell()
        .asBuilder()
        .storeUint(0xffffffff, 32)
        .storeUint(constants.OP_PAYOUT, 32)
        .storeBuffer(providerTag('alice'))
        .endCell();
    await world.chain.sendMessage(
        internal({ from: world.alice, to: world.address, value: nano(5), bounce: false, bounced: true, body }),
    );
    assert.equal(await world.data(), data);
});

test('a claim with too little value is refused', async () => {
    const world = await World.create();
    const epoch = await world.anchor(1n, two(world));
    await world.refused('VALUE', world.alice, world.claim(epoch, 0), { value: constants.CLAIM_VALUE - 1n });
    await world.ok(world.alice, world.claim(epoch, 0), { value: constants.CLAIM_VALUE });
});

test('the largest amounts a leaf can hold overflow nothing', async () => {
    const world = await World.create();
    const most = 2n ** 64n - 1n;
    const epoch = await world.anchor(
        1n,
        [
            [world.alice, 'alice', most, 0n],
            [world.bob, 'bob', most, most - nano(1)],
            [world.carol, 'carol', 0n, most],
        ],
        { owed: most },
    );
    await world.refused('UNDERFUNDED', world.alice, world.claim(epoch, 0));
    await world.ok(world.bob, world.claim(epoch, 1));
    await world.refused('NOTHING_DUE', world.carol, world.claim(epoch, 2));
});

test('a leaf is 77 bytes', async () => {
    const world = await World.create();
    assert.equal(leafBytes({ payee: world.alice, provider: providerTag('a'), earned: 1n, pushed: 2n }).length, 77);
});
