// A chain with mainnet's prices of 2026, a settlement contract on it, and the people around it.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Cell, beginCell, contractAddress } from '@ton/core';
import { Blockchain, Executor, createShardAccount, internal } from '@ton/sandbox';
import { providerTag, tree } from '../js/merkle.mjs';
import { bodies, constants, getters, nano, stateInit, terms } from '../js/settlement.mjs';

/** A cut-down copy of mainnet's configuration of 2026. */
export const config = Cell.fromBoc(readFileSync(new URL('../../src/chain/devnet/config.boc', import.meta.url)))[0];
export const hash = (text) => createHash('sha256').update(text).digest();
/** A Monday, 12:00 UTC. */
export const START = 1_795_435_200;
export const DAY = 86_400;
/** What senders attach where a test does not say otherwise. */
const VALUE = nano('0.05');

/** The C++ executor, once for all worlds. */
const executor = await Executor.create();

/** What became of one message to the contract. */
export class Outcome {
    constructor(transactions, contract) {
        this.transactions = transactions;
        /** The contract's transactions, the message's own first. */
        this.own = transactions.filter((tx) => tx.address === BigInt(`0x${contract.hash.toString('hex')}`));
        this.first = this.own[0];
    }

    get exitCode() {
        const compute = this.first.description.computePhase;
        return compute.type === 'vm' ? compute.exitCode : -1;
    }

    get gas() {
        return this.first.description.computePhase.gasUsed;
    }

    /** All fees of the contract's own transactions, with those of the messages it sent. */
    get fees() {
        return this.own.reduce((sum, tx) => sum + tx.totalFees.coins + forwardFees(tx), 0n);
    }

    /** The fees of every transaction that the message led to, and of every message among them. */
    get allFees() {
        return this.transactions.reduce((sum, tx) => sum + tx.totalFees.coins + forwardFees(tx), 0n);
    }

    /** Messages that the contract sent, as { to, value, op, bounce }. */
    get sent() {
        return this.own.flatMap((tx) =>
            tx.outMessages.values().map((message) => ({
                to: message.info.dest.toString(),
                value: message.info.value.coins,
                bounced: message.info.bounced,
                op: message.body.bits.length >= 32 ? message.body.beginParse().loadUint(32) : null,
            })),
        );
    }
}

/** The part of messages' forward fees that does not go to the sender's validators and so not into its total fees. */
function forwardFees(tx) {
    return tx.outMessages.values().reduce((sum, message) => sum + (message.info.forwardFee ?? 0n), 0n);
}

export class World {
    static async create(options = {}) {
        const world = new World();
        world.chain = await Blockchain.create({ executor, config: options.config ?? config });
        world.chain.now = START;
        world.chain.recordStorage = false;
        const names = ['owner', 'operator', 'arbiter', 'forfeit', 'alice', 'bob', 'carol', 'stranger', 'caller'];
        for (const name of names) world[name] = await world.person(name);
        world.parties = {
            owner: world.owner,
            operator: world.operator,
            arbiter: world.arbiter,
            forfeitTo: world.forfeit,
            drawLimit: options.drawLimit ?? nano(100),
            terms: { ...terms, ...options.terms },
        };
        const { init, address } = stateInit(world.parties);
        world.init = init;
        world.address = address;
        const deployed = await world.send(world.owner, new Cell(), { value: options.funds ?? nano(1000), init });
        assert.equal(deployed.exitCode, 0);
        return world;
    }

    /** Somebody with an account that takes whatever comes: its code is empty. */
    async person(name, workchain = 0) {
        const [code, data] = [new Cell(), beginCell().storeBuffer(hash(name)).endCell()];
        const address = contractAddress(workchain, { code, data });
        const account = createShardAccount({ address, code, data, balance: nano(1_000_000), workchain });
        await this.chain.setShardAccount(address, account);
        return address;
    }

    get now() {
        return this.chain.now;
    }

    pass(seconds) {
        this.chain.now += seconds;
    }

    /** Delivers a message to the contract and everything that follows from it. */
    async send(from, body, { value = VALUE, bounce = true, init, to = this.address } = {}) {
        const message = internal({ from, to, value, bounce, body, stateInit: init });
        const { transactions } = await this.chain.sendMessage(message);
        return new Outcome(transactions, this.address);
    }

    /** Sends what must be carried out. */
    async ok(from, body, options) {
        const before = await this.balance();
        const outcome = await this.send(from, body, options);
        assert.equal(outcome.exitCode, 0, `exit code, with ${before} nano`);
        assert.equal(outcome.first.description.aborted, false);
        await this.checkSafe();
        return outcome;
    }

    /** Sends what must be refused with this error: nothing changes, and what is left of the value goes back. */
    async refused(error, from, body, options = {}) {
        const code = typeof error === 'number' ? error : constants[`ERR_${error}`];
        assert.notEqual(code, undefined, `no error ${error}`);
        const [data, balance] = [await this.data(), await this.balance()];
        const outcome = await this.send(from, body, options);
        assert.equal(outcome.exitCode, code);
        assert.equal(outcome.first.description.aborted, true);
        assert.equal(await this.data(), data, 'the state changed');
        if (options.bounce !== false) {
            assert.deepEqual(
                outcome.sent.map(({ to, bounced }) => ({ to, bounced })),
                [{ to: from.toString(), bounced: true }],
            );
            // Fees are fifteen times as high for who sits in the masterchain.
            const most = from.workChain === 0 ? nano('0.003') : nano('0.05');
            assert.ok(outcome.sent[0].value > (options.value ?? VALUE) - most, 'the value did not go back');
            const due = outcome.first.description.storagePhase.storageFeesCollected;
            assert.equal(await this.balance(), balance - due, 'the balance changed');
        }
        return outcome;
    }

    async account(address = this.address) {
        return (await this.chain.getContract(address)).accountState;
    }

    async balance(address = this.address) {
        return (await this.chain.getContract(address)).balance;
    }

    /** The hash of the contract's data. */
    async data() {
        return (await this.account()).state.data.hash().toString('hex');
    }

    /** Asks a get-method by its name in `getters`. */
    ask(name, ...parameters) {
        const run = async (method, args) => (await this.chain.runGetMethod(this.address, method, args)).stackReader;
        return getters[name](run, ...parameters);
    }

    /** What must hold at any time: other people's money and the reserve are there. */
    async checkSafe() {
        const { balance, held } = await this.ask('money');
        assert.ok(balance >= held + constants.RESERVE, `balance ${balance}, held ${held}`);
    }

    /** Anchors a tree over these leaves, each [payee, provider's id, earned, pushed]. */
    async anchor(epoch, rows, { owed, from = this.operator, value } = {}) {
        const leaves = rows.map(([payee, id, earned, pushed = 0n]) => ({
            payee,
            provider: providerTag(id),
            earned,
            pushed,
        }));
        const built = tree(leaves);
        const sum = leaves.reduce(
            (all, leaf) => all + (leaf.earned > leaf.pushed ? leaf.earned - leaf.pushed : 0n),
            0n,
        );
        const body = bodies.anchor({
            epoch,
            earningsRoot: built.root,
            receiptsRoot: hash(`receipts of ${epoch}`),
            owed: owed ?? sum,
        });
        const outcome = await this.ok(from, body, { value: value ?? nano('0.01') });
        return { epoch, outcome, leaves, root: built.root, path: built.path, body };
    }

    /** A claim of a leaf of an anchored tree. */
    claim({ leaves, path }, index, options) {
        return bodies.claim(leaves[index], path(index), options);
    }

    contest({ epoch, leaves, path }, index, received) {
        return bodies.contest(epoch, received, leaves[index], path(index));
    }
}

const REFUSALS = { throws: 'f225', 'burns a million gas': '90ea' };

/** Puts an account on the chain that refuses every message, in one of these ways. */
export async function refuser(world, how = 'throws') {
    const code = beginCell().storeBuffer(Buffer.from(REFUSALS[how], 'hex')).endCell();
    const data = new Cell();
    const address = contractAddress(0, { code, data });
    await world.chain.setShardAccount(address, createShardAccount({ address, code, data, balance: nano(1) }));
    return address;
}

export { bodies, constants, nano, providerTag, terms, tree };
