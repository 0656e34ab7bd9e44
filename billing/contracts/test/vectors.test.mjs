// The vectors against the contract itself, and the tree against RFC 6962's own words.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Address, Cell } from '@ton/core';
import { World, bodies, constants, nano } from './kit.mjs';

const vectors = JSON.parse(readFileSync(new URL('../vectors.json', import.meta.url), 'utf8'));
const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest();

/** RFC 6962, section 2.1, word for word. */
function defined(leaves) {
    if (leaves.length === 0) return sha256();
    if (leaves.length === 1) return sha256(Buffer.of(0), leaves[0]);
    let split = 1;
    while (split * 2 < leaves.length) split *= 2;
    return sha256(Buffer.of(1), defined(leaves.slice(0, split)), defined(leaves.slice(split)));
}

test("roots are those of RFC 6962 over the leaves' bytes", () => {
    for (const { root, leaves } of vectors.trees) {
        assert.equal(defined(leaves.map(({ bytes }) => Buffer.from(bytes, 'hex'))).toString('hex'), root);
    }
});

test('siblings and sides lead from each leaf to the root', () => {
    for (const { root, leaves } of vectors.trees) {
        for (const { hash, sides, siblings } of leaves) {
            const step = (node, sibling, level) => {
                const other = Buffer.from(sibling, 'hex');
                return (sides >> level) & 1 ? sha256(Buffer.of(1), other, node) : sha256(Buffer.of(1), node, other);
            };
            assert.equal(siblings.reduce(step, Buffer.from(hash, 'hex')).toString('hex'), root);
        }
    }
});

test('the contract pays every claim among the vectors', async () => {
    const world = await World.create({ funds: nano(1000) });
    const body = (boc) => Cell.fromBase64(boc);
    let epoch = 0n;
    for (const { root, leaves } of vectors.trees) {
        epoch += 1n;
        const earningsRoot = Buffer.from(root, 'hex');
        await world.ok(world.operator, bodies.anchor({ epoch, earningsRoot, receiptsRoot: earningsRoot, owed: 0n }));
        for (const leaf of leaves) {
            const due =
                BigInt(leaf.earned) -
                BigInt(leaf.pushed) -
                (await world.ask('claimedOf', Buffer.from(leaf.tag, 'hex')));
            const { float } = await world.ask('money');
            const claim = await world.send(world.stranger, body(leaf.claim), { value: nano('0.05') });
            const expected = due <= 0n ? constants.ERR_NOTHING_DUE : due > float ? constants.ERR_UNDERFUNDED : 0;
            assert.equal(claim.exitCode, expected, `${leaf.provider}, ${due} due`);
        }
    }
    assert.ok((await world.ask('money')).claimed > nano(8));
});

test('the contract keeps the chain of anchors among the vectors', async () => {
    const world = await World.create();
    for (const [i, { body, chain, epoch }] of vectors.anchors.entries()) {
        // The last one is too far from the others: it shows the bytes only.
        if (i === 3) await world.refused('EPOCH', world.operator, Cell.fromBase64(body));
        else {
            await world.ok(world.operator, Cell.fromBase64(body));
            assert.deepEqual(
                [(await world.ask('lastAnchor')).epoch, (await world.ask('lastAnchor')).chain],
                [BigInt(epoch), chain],
            );
        }
    }
});

test('every other body among the vectors is understood', async () => {
    const world = await World.create();
    for (const [name, body] of Object.entries(vectors.messages.bodies)) {
        const { exitCode } = await world.send(world.stranger, Cell.fromBase64(body));
        // Refused for who sends it or for what is not there; not for its form (9, 5) or its number.
        const formal = [constants.ERR_SENDER, constants.ERR_NONE, constants.ERR_VALUE];
        assert.ok(formal.includes(exitCode), `${name}: ${exitCode}`);
    }
});

test('a contract deployed with the initial data among the vectors is ready', async () => {
    const world = await World.create();
    const { deploy } = vectors;
    const to = Address.parseRaw(deploy.address);
    const init = { code: world.init.code, data: Cell.fromBase64(deploy.data) };
    await world.send(world.caller, new Cell(), { to, value: nano(10), init });
    world.address = to;
    const roles = await world.ask('roles');
    assert.deepEqual(
        [roles.owner, roles.operator, roles.arbiter, (await world.ask('terms')).forfeitTo].map((one) =>
            one.toRawString(),
        ),
        [deploy.owner, deploy.operator, deploy.arbiter, deploy.forfeitTo],
    );
    assert.equal((await world.ask('lastAnchor')).count, 0);
});
