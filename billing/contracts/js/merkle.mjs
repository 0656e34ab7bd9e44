// The earnings tree as the contract reads it: RFC 6962's tree (section 2.1) over leaves of 77 bytes, and proofs as cells.
import { createHash } from 'node:crypto';
import { beginCell } from '@ton/core';

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();

/** What stands for a provider in leaves, stakes and get-methods: the first 28 bytes of the SHA-256 of its id. */
export const providerTag = (id) => sha256(id).subarray(0, 28);

/** A leaf's 77 bytes. `payee` is an address, `earned` and `pushed` are nano since ever. */
export function leafBytes({ payee, provider, earned, pushed }) {
    const bytes = Buffer.alloc(77);
    bytes.writeInt8(payee.workChain, 0);
    payee.hash.copy(bytes, 1);
    provider.copy(bytes, 33);
    bytes.writeBigUInt64BE(earned, 61);
    bytes.writeBigUInt64BE(pushed, 69);
    return bytes;
}

export const leafHash = (bytes) => sha256(Buffer.of(0), bytes);
const nodeHash = (left, right) => sha256(Buffer.of(1), left, right);

/** The rows of the tree, leaves first. A node without a sibling rises unchanged. */
function rows(hashes) {
    const all = [hashes];
    for (let row = hashes; row.length > 1; all.push(row)) {
        const above = [];
        for (let i = 0; i < row.length; i += 2) {
            above.push(i + 1 < row.length ? nodeHash(row[i], row[i + 1]) : row[i]);
        }
        row = above;
    }
    return all;
}

/** A tree over leaves: its root, and the path of each leaf as { sides, siblings } from the leaf up. */
export function tree(leaves) {
    const all = rows(leaves.map((leaf) => leafHash(leafBytes(leaf))));
    const root = leaves.length === 0 ? sha256() : all.at(-1)[0];
    const path = (index) => {
        let sides = 0;
        const siblings = [];
        let at = index;
        for (const row of all) {
            const sibling = row[at ^ 1];
            if (sibling !== undefined && row.length > 1) {
                if (at & 1) sides = (sides | (1 << siblings.length)) >>> 0;
                siblings.push(sibling);
            }
            at >>= 1;
        }
        return { sides, siblings };
    };
    return { root, path };
}

/** Siblings as cells of three, the first outermost. */
function pathCell(siblings) {
    if (siblings.length === 0) return null;
    const cell = beginCell();
    for (const sibling of siblings.slice(0, 3)) cell.storeBuffer(sibling);
    const rest = pathCell(siblings.slice(3));
    if (rest !== null) cell.storeRef(rest);
    return cell.endCell();
}

/** A leaf with its path, as claims and contests carry it. */
export function storeProof(leaf, { sides, siblings }) {
    const bytes = Buffer.isBuffer(leaf) ? leaf : leafBytes(leaf);
    return (builder) =>
        builder.storeBuffer(bytes).storeUint(siblings.length, 8).storeUint(sides, 32).storeMaybeRef(pathCell(siblings));
}
