// Runs every message that our devnet executed, or refused, again in the C++ executor, and compares what came of it.
//
// node replays.mjs [--least N] FOLDER: the folder's files are what devnets wrote under FILATURE_REPLAYS, one message a
// line. Equal lines are run once: many tests begin alike. Exit status 1 if one differs, or if there are fewer than N.
import { createHash } from 'node:crypto';
import { createReadStream, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Cell } from '@ton/core';
import { Executor } from '@ton/sandbox';
import { defaultConfig, replay } from './replay.mjs';

/** What both executors must agree on. */
const FIELDS = ['aborted', 'exit_code', 'gas', 'total_fees', 'balance_after', 'data_hash_after', 'out_messages'];
/** Deepest message that is run: the C++ executor's build for JavaScript has a small stack, and ends itself on 500 cells. */
const DEPTH_MAX = 256;
/** Differences that are printed. */
const SHOWN_MAX = 10;

/** Where the answer differs from what the line says came of it. */
function differences(line, answer) {
    if (line.refused) return refusal(line, answer);
    if (!answer.ok) return [`taken there, refused in C++: ${answer.error}`];
    const told = { ...line, gas: String(line.gas) };
    const text = (value) => JSON.stringify(value ?? null);
    return FIELDS.filter((field) => text(told[field]) !== text(answer[field])).map(
        (field) => `${field}: ${text(told[field])} there, ${text(answer[field])} in C++`,
    );
}

/** The same for a message from outside that was not taken. */
function refusal(line, answer) {
    if (answer.ok) return [`refused there with ${line.exit_code}, taken in C++`];
    return line.exit_code === answer.exit_code ? [] : [`refused there with ${line.exit_code}, in C++ with ${answer.exit_code}`];
}

class Tally {
    messages = 0;
    seen = new Set();
    tooDeep = 0;
    different = [];
    /** How they ended: a contract did all, a contract failed, nobody was there to run, a message from outside was not taken. */
    ends = { done: 0, failed: 0, plain: 0, refused: 0 };

    /** Whether a line is new under its configuration. */
    isNew(text, config) {
        this.messages += 1;
        const name = createHash('sha256').update(config).update(text).digest('base64');
        if (this.seen.has(name)) return false;
        this.seen.add(name);
        return true;
    }

    take(place, line, answer) {
        this.ends[end(answer)] += 1;
        const found = differences(line, answer);
        if (found.length > 0) this.different.push(`${place}: ${found.join('; ')}`);
    }
}

function end(answer) {
    if (!answer.ok) return 'refused';
    if (answer.exit_code === null) return 'plain';
    return answer.aborted || ![0, 1].includes(answer.exit_code) ? 'failed' : 'done';
}

async function replayFile(executor, folder, name, tally) {
    let config = defaultConfig;
    let number = 0;
    for await (const text of createInterface({ input: createReadStream(join(folder, name)) })) {
        number += 1;
        let line;
        try {
            line = JSON.parse(text);
        } catch (error) {
            throw new Error(`${name}:${number}: ${error.message}`, { cause: error });
        }
        config = line.config_boc ?? config;
        if (!tally.isNew(text, config)) continue;
        if (Cell.fromBase64(line.message).depth() > DEPTH_MAX) tally.tooDeep += 1;
        else tally.take(`${name}:${number}`, line, await replay(executor, line, config));
    }
}

const { values, positionals } = parseArgs({ options: { least: { type: 'string', default: '1' } }, allowPositionals: true });
const [folder] = positionals;
const began = performance.now();
const tally = new Tally();
let files = [];
try {
    files = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
} catch (error) {
    console.error(`replays: ${error.message}; \`make test-rust\` writes them`);
    process.exit(1);
}
// First, since lines are lost that come before somebody reads them.
const executor = await Executor.create();
for (const name of files.sort()) await replayFile(executor, folder, name, tally);

for (const one of tally.different.slice(0, SHOWN_MAX)) console.error(`replays: ${one}`);
const seconds = ((performance.now() - began) / 1000).toFixed(1);
const { messages, seen, tooDeep, different, ends } = tally;
const run = seen.size - tooDeep;
console.log(
    `replays: ${messages} messages of ${files.length} devnets; of the ${seen.size} that differ ${run} were run again in ` +
        `C++, in ${seconds} s (${ends.done} did what they should, ${ends.failed} failed in a contract, ${ends.plain} met none, ` +
        `${ends.refused} from outside were refused), ${tooDeep} are too deep for it: ${run - different.length} came out equal, ` +
        `${different.length} did not`,
);
if (run < Number(values.least)) {
    console.error(`replays: fewer than ${values.least} are too few: were the tests run with FILATURE_REPLAYS?`);
    process.exitCode = 1;
}
if (different.length > 0) process.exitCode = 1;
