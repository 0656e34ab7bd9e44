// The contract's words for JavaScript: initial data, bodies of messages, answers of get-methods.
import { readFileSync } from 'node:fs';
import { Address, Cell, Dictionary, beginCell, contractAddress } from '@ton/core';
import { storeProof } from './merkle.mjs';

/** The numbers of src/constants.tolk by name: operations, errors, limits. */
export const constants = (() => {
    const text = readFileSync(new URL('../src/constants.tolk', import.meta.url), 'utf8');
    const found = text.matchAll(/^const (\w+) = (?:ton\("([\d.]+)"\)|(\w+))$/gm);
    return Object.fromEntries([...found].map(([, name, ton, number]) => [name, ton ? nano(ton) : Number(number)]));
})();

/** TON as text in nano. */
export function nano(ton) {
    const [whole, part = ''] = String(ton).split('.');
    return BigInt(whole) * 1_000_000_000n + BigInt(part.padEnd(9, '0'));
}

export const code = Cell.fromBase64(
    JSON.parse(readFileSync(new URL('../settlement.code.json', import.meta.url), 'utf8')).boc,
);

/** The delays and least amounts that README.md recommends. */
export const terms = {
    stakeMin: nano(10),
    bondMin: nano(1),
    unstakeDelay: 14 * 86400,
    answerDelay: 5 * 86400,
    rulingDelay: 14 * 86400,
    arbiterDelay: 30 * 86400,
    pauseMax: 7 * 86400,
    pauseGap: 21 * 86400,
};

/** The initial data: `parties` are the addresses owner, operator, arbiter and forfeitTo. */
export function initialData({ owner, operator, arbiter, forfeitTo, drawLimit = 0n, terms: t = terms }) {
    const fixed = beginCell()
        .storeAddress(forfeitTo)
        .storeCoins(t.stakeMin)
        .storeCoins(t.bondMin)
        .storeUint(t.unstakeDelay, 32)
        .storeUint(t.answerDelay, 32)
        .storeUint(t.rulingDelay, 32)
        .storeUint(t.arbiterDelay, 32)
        .storeUint(t.pauseMax, 32)
        .storeUint(t.pauseGap, 32)
        .endCell();
    const court = beginCell().storeAddress(arbiter).storeAddress(null).storeUint(0, 32).storeRef(fixed).endCell();
    const roles = beginCell().storeAddress(owner).storeAddress(null).storeCoins(drawLimit).storeRef(court).endCell();
    // No anchor yet: count, epoch, time, two roots and the chain are zero, and there are no days.
    const anchors = beginCell().storeUint(0, 128);
    for (let i = 0; i < 3; i++) anchors.storeUint(0, 256);
    return beginCell()
        .storeAddress(operator)
        .storeCoins(0) // owed
        .storeRef(anchors.storeBit(false).endCell())
        .storeUint(0, 32) // paused until
        .storeCoins(0) // held
        .storeCoins(0) // contested
        .storeCoins(0) // claimed
        .storeUint(0, 32) // no pause before
        .storeUint(0, 32) // day of the last draw
        .storeCoins(0) // drawn
        .storeBit(false) // accounts
        .storeBit(false) // stakes
        .storeRef(roles)
        .endCell();
}

export function stateInit(parties) {
    const init = { code, data: initialData(parties) };
    return { init, address: contractAddress(0, init) };
}

const uint = (buffer) => BigInt(`0x${buffer.toString('hex') || '0'}`);

function body(name, queryId, store = (builder) => builder) {
    const op = constants[`OP_${name}`];
    if (op === undefined) throw new Error(`no operation ${name}`);
    return beginCell().storeUint(op, 32).storeUint(queryId, 64).store(store).endCell();
}

/** Bodies of messages to the contract, named after the operations. */
export const bodies = {
    comment: (text) => beginCell().storeUint(0, 32).storeStringTail(text).endCell(),
    anchor: ({ epoch, earningsRoot, receiptsRoot, owed }, queryId = 0n) =>
        body('ANCHOR', queryId, (b) =>
            b.storeUint(epoch, 64).storeBuffer(earningsRoot).storeBuffer(receiptsRoot).storeUint(owed, 64),
        ),
    claim: (leaf, path, { bounceable = true, queryId = 0n } = {}) =>
        body('CLAIM', queryId, (b) => b.storeBit(bounceable).store(storeProof(leaf, path))),
    contest: (epoch, received, leaf, path, queryId = 0n) =>
        body('CONTEST', queryId, (b) =>
            b
                .storeUint(epoch, 64)
                .storeUint(received, 64)
                .storeRef(beginCell().store(storeProof(leaf, path)).endCell()),
        ),
    object: (provider, queryId = 0n) => body('OBJECT', queryId, (b) => b.storeBuffer(provider)),
    dropContest: (provider, queryId = 0n) => body('DROP_CONTEST', queryId, (b) => b.storeBuffer(provider)),
    closeContest: (provider, queryId = 0n) => body('CLOSE_CONTEST', queryId, (b) => b.storeBuffer(provider)),
    ruleContest: (provider, amount, queryId = 0n) =>
        body('RULE_CONTEST', queryId, (b) => b.storeBuffer(provider).storeCoins(amount)),
    draw: (amount, to, queryId = 0n) => body('DRAW', queryId, (b) => b.storeCoins(amount).storeAddress(to)),
    stake: (provider, queryId = 0n) => body('STAKE', queryId, (b) => b.storeBuffer(provider)),
    unstake: (amount, queryId = 0n) => body('UNSTAKE', queryId, (b) => b.storeCoins(amount)),
    withdraw: (queryId = 0n) => body('WITHDRAW', queryId),
    dispute: (queryId = 0n) => body('DISPUTE', queryId),
    closeSlash: (wallet, queryId = 0n) => body('CLOSE_SLASH', queryId, (b) => b.storeBuffer(wallet.hash)),
    ruleSlash: (wallet, amount, queryId = 0n) =>
        body('RULE_SLASH', queryId, (b) => b.storeBuffer(wallet.hash).storeCoins(amount)),
    slash: (wallet, amount, reason, queryId = 0n) =>
        body('SLASH', queryId, (b) => b.storeBuffer(wallet.hash).storeCoins(amount).storeBuffer(reason)),
    dropSlash: (wallet, queryId = 0n) => body('DROP_SLASH', queryId, (b) => b.storeBuffer(wallet.hash)),
    setOperator: (operator, queryId = 0n) => body('SET_OPERATOR', queryId, (b) => b.storeAddress(operator)),
    setDrawLimit: (limit, queryId = 0n) => body('SET_DRAW_LIMIT', queryId, (b) => b.storeCoins(limit)),
    pause: (seconds, queryId = 0n) => body('PAUSE', queryId, (b) => b.storeUint(seconds, 32)),
    resume: (queryId = 0n) => body('RESUME', queryId),
    proposeOwner: (owner, queryId = 0n) => body('PROPOSE_OWNER', queryId, (b) => b.storeAddress(owner)),
    acceptOwner: (queryId = 0n) => body('ACCEPT_OWNER', queryId),
    proposeArbiter: (arbiter, queryId = 0n) => body('PROPOSE_ARBITER', queryId, (b) => b.storeAddress(arbiter)),
};

const number = (value) => ({ type: 'int', value });
const hex = (value) => value.toString(16).padStart(64, '0');

/** The get-methods, through `ask(name, arguments)` which gives a reader of the answer's stack. */
export const getters = {
    async roles(ask) {
        const s = await ask('roles', []);
        return {
            owner: s.readAddress(),
            nextOwner: s.readAddressOpt(),
            operator: s.readAddress(),
            arbiter: s.readAddress(),
            nextArbiter: s.readAddressOpt(),
            nextArbiterAt: s.readNumber(),
            drawLimit: s.readBigNumber(),
        };
    },
    async terms(ask) {
        const s = await ask('terms', []);
        const [forfeitTo, stakeMin, bondMin] = [s.readAddress(), s.readBigNumber(), s.readBigNumber()];
        const names = ['unstakeDelay', 'answerDelay', 'rulingDelay', 'arbiterDelay', 'pauseMax', 'pauseGap'];
        return { forfeitTo, stakeMin, bondMin, ...Object.fromEntries(names.map((name) => [name, s.readNumber()])) };
    },
    async money(ask) {
        const s = await ask('money', []);
        const names = ['balance', 'held', 'float', 'owed', 'contested', 'claimed', 'drawable'];
        return Object.fromEntries(names.map((name) => [name, s.readBigNumber()]));
    },
    async lastAnchor(ask) {
        const s = await ask('last_anchor', []);
        const [count, epoch, at] = [s.readNumber(), s.readBigNumber(), s.readNumber()];
        const [earningsRoot, receiptsRoot, chain] = [0, 1, 2].map(() => hex(s.readBigNumber()));
        return { count, epoch, at, earningsRoot, receiptsRoot, chain };
    },
    async anchorOf(ask, epoch) {
        const s = await ask('anchor_of', [number(BigInt(epoch))]);
        if (!s.readBoolean()) return null;
        return { at: s.readNumber(), earningsRoot: hex(s.readBigNumber()), receiptsRoot: hex(s.readBigNumber()) };
    },
    async pastAnchors(ask) {
        const days = (await ask('past_anchors', [])).readCellOpt();
        if (days === null) return [];
        const slots = Dictionary.loadDirect(Dictionary.Keys.Uint(8), Dictionary.Values.BitString(64 + 32 + 512), days);
        const past = slots.values().map((bits) => {
            const s = beginCell().storeBits(bits).endCell().beginParse();
            const [epoch, at] = [s.loadUintBig(64), s.loadUint(32)];
            return { epoch, at, earningsRoot: hex(s.loadUintBig(256)), receiptsRoot: hex(s.loadUintBig(256)) };
        });
        return past.sort((one, other) => one.at - other.at);
    },
    async pauseState(ask) {
        const s = await ask('pause_state', []);
        return { until: s.readNumber(), notBefore: s.readNumber() };
    },
    async claimedOf(ask, provider) {
        return (await ask('claimed_of', [number(uint(provider))])).readBigNumber();
    },
    async contestOf(ask, provider) {
        const s = await ask('contest_of', [number(uint(provider))]);
        if (!s.readBoolean()) return null;
        const payee = new Address(0, Buffer.from(hex(s.readBigNumber()), 'hex'));
        return {
            payee,
            locked: s.readBigNumber(),
            bond: s.readBigNumber(),
            deadline: s.readNumber(),
            objected: s.readBoolean(),
        };
    },
    async stakeOf(ask, wallet) {
        const s = await ask('stake_of', [number(uint(wallet.hash))]);
        if (!s.readBoolean()) return null;
        const provider = Buffer.from(s.readBigNumber().toString(16).padStart(56, '0'), 'hex');
        return { provider, amount: s.readBigNumber(), leaving: s.readBigNumber(), leavesAt: s.readNumber() };
    },
    async slashOf(ask, wallet) {
        const s = await ask('slash_of', [number(uint(wallet.hash))]);
        if (!s.readBoolean()) return null;
        const [amount, reason] = [s.readBigNumber(), hex(s.readBigNumber())];
        return { amount, reason, deadline: s.readNumber(), disputed: s.readBoolean() };
    },
};
