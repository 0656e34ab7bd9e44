// Writes vectors.json: what another implementation of the formats in README.md must give, byte for byte.
import { writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { Address } from '@ton/core';
import { leafBytes, leafHash, providerTag, tree } from './js/merkle.mjs';
import { bodies, initialData, nano, stateInit, terms } from './js/settlement.mjs';

export const vectorsFile = new URL('vectors.json', import.meta.url);

const sha256 = (text) => createHash('sha256').update(text).digest();
const account = (name) => new Address(0, sha256(`account ${name}`));
const base64 = (cell) => cell.toBoc().toString('base64');

/** A provider's id is a public key in hex, or a name. */
const id = (i) => (i % 3 === 2 ? `provider-${i}` : sha256(`key ${i}`).toString('hex'));

function row(i) {
    const earned = [0n, 1n, nano('12.345678901'), 2n ** 53n - 1n, 2n ** 64n - 1n][i % 5] + BigInt(i % 5 < 4 ? i : 0);
    const pushed = i % 2 === 0 ? 0n : earned / 3n;
    return { id: id(i), payee: account(i), provider: providerTag(id(i)), earned, pushed };
}

function treeVector(size) {
    const rows = Array.from({ length: size }, (_, i) => row(i));
    const { root, path } = tree(rows);
    const leaves = rows.map((leaf, index) => {
        const { sides, siblings } = path(index);
        return {
            provider: leaf.id,
            tag: leaf.provider.toString('hex'),
            payee: leaf.payee.toRawString(),
            earned: leaf.earned.toString(),
            pushed: leaf.pushed.toString(),
            bytes: leafBytes(leaf).toString('hex'),
            hash: leafHash(leafBytes(leaf)).toString('hex'),
            sides,
            siblings: siblings.map((sibling) => sibling.toString('hex')),
            bounceable: index % 2 === 1,
            claim: base64(bodies.claim(leaf, { sides, siblings }, { bounceable: index % 2 === 1, queryId: 7n })),
            contest: base64(bodies.contest(5n, leaf.pushed, leaf, { sides, siblings }, 7n)),
        };
    });
    return { size, root: root.toString('hex'), leaves };
}

function chainVector() {
    let chain = Buffer.alloc(32);
    return [0n, 1n, 2n, 70_000n].map((epoch) => {
        const [earningsRoot, receiptsRoot] = [sha256(`earnings ${epoch}`), sha256(`receipts ${epoch}`)];
        const number = Buffer.alloc(8);
        number.writeBigUInt64BE(epoch);
        chain = createHash('sha256').update(chain).update(number).update(earningsRoot).update(receiptsRoot).digest();
        return {
            epoch: epoch.toString(),
            earnings_root: earningsRoot.toString('hex'),
            receipts_root: receiptsRoot.toString('hex'),
            owed: (epoch * 1000n).toString(),
            body: base64(bodies.anchor({ epoch, earningsRoot, receiptsRoot, owed: epoch * 1000n }, 7n)),
            chain: chain.toString('hex'),
        };
    });
}

function deployVector() {
    const parties = {
        owner: account('owner'),
        operator: account('operator'),
        arbiter: account('arbiter'),
        forfeitTo: account('forfeit'),
        drawLimit: nano(100),
        terms,
    };
    const { address } = stateInit(parties);
    const raw = Object.entries(parties).filter(([, value]) => Address.isAddress(value));
    return {
        ...Object.fromEntries(raw.map(([name, value]) => [name, value.toRawString()])),
        drawLimit: parties.drawLimit.toString(),
        terms: Object.fromEntries(Object.entries(terms).map(([name, value]) => [name, value.toString()])),
        data: base64(initialData(parties)),
        address: address.toRawString(),
    };
}

function bodiesVector() {
    const tag = providerTag(id(0));
    const to = account('somebody');
    const all = {
        object: bodies.object(tag, 7n),
        draw: bodies.draw(nano('1.5'), to, 7n),
        drop_contest: bodies.dropContest(tag, 7n),
        close_contest: bodies.closeContest(tag, 7n),
        rule_contest: bodies.ruleContest(tag, nano(2), 7n),
        stake: bodies.stake(tag, 7n),
        unstake: bodies.unstake(nano(2), 7n),
        withdraw: bodies.withdraw(7n),
        dispute: bodies.dispute(7n),
        close_slash: bodies.closeSlash(to, 7n),
        rule_slash: bodies.ruleSlash(to, nano(2), 7n),
        slash: bodies.slash(to, nano(2), sha256('reason'), 7n),
        drop_slash: bodies.dropSlash(to, 7n),
        set_operator: bodies.setOperator(to, 7n),
        set_draw_limit: bodies.setDrawLimit(nano(2), 7n),
        pause: bodies.pause(3600, 7n),
        resume: bodies.resume(7n),
        propose_owner: bodies.proposeOwner(to, 7n),
        propose_no_owner: bodies.proposeOwner(null, 7n),
        accept_owner: bodies.acceptOwner(7n),
        propose_arbiter: bodies.proposeArbiter(to, 7n),
    };
    return {
        query_id: 7,
        provider: id(0),
        tag: tag.toString('hex'),
        address: to.toRawString(),
        amount: nano(2).toString(),
        draw_amount: nano('1.5').toString(),
        reason: sha256('reason').toString('hex'),
        seconds: 3600,
        bodies: Object.fromEntries(Object.entries(all).map(([name, cell]) => [name, base64(cell)])),
    };
}

export function vectors() {
    return {
        about: 'Formats: README.md. Made by `node vectors.mjs`; amounts in nano; cells as bags of cells in base64.',
        deploy: deployVector(),
        anchors: chainVector(),
        messages: bodiesVector(),
        trees: [0, 1, 2, 3, 4, 5, 8, 13].map(treeVector),
    };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
    writeFileSync(vectorsFile, `${JSON.stringify(vectors(), null, 1)}\n`);
}
