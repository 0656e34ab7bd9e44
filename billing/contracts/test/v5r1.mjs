// Wallets v5r1 with keys, as people and the operator have them.
import { SendMode, external, internal } from '@ton/core';
import { keyPairFromSeed } from '@ton/crypto';
import { WalletContractV5R1 } from '@ton/ton';
import { hash } from './kit.mjs';

/** A wallet that is not deployed yet. */
export class Wallet {
    constructor(name) {
        this.keys = keyPairFromSeed(hash(`seed of ${name}`));
        this.contract = WalletContractV5R1.create({ workchain: 0, publicKey: this.keys.publicKey });
        this.seqno = 0;
    }

    get address() {
        return this.contract.address;
    }

    /** The signed message that sends these, each [to, value, body]. */
    sign(world, messages) {
        const body = this.contract.createTransfer({
            seqno: this.seqno,
            secretKey: this.keys.secretKey,
            timeout: world.now + 60,
            sendMode: SendMode.PAY_GAS_SEPARATELY,
            messages: messages.map(([to, value, content, bounce = true]) =>
                internal({ to, value, bounce, body: content }),
            ),
        });
        const init = this.seqno === 0 ? this.contract.init : undefined;
        this.seqno += 1;
        return external({ to: this.address, init, body });
    }
}
