// Compiles the contract. As a program, writes the result to settlement.code.json: the code as a bag of cells in base64, and
// its hash, by which anybody can tell whether what is deployed is this source; and the hash to README.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { runTolkCompiler } from '@ton/tolk-js';

const folder = new URL('.', import.meta.url);
export const codeFile = new URL('settlement.code.json', folder);

/** The compiled contract: { tolk, hash, boc } and its assembler text. */
export async function compile() {
    const result = await runTolkCompiler({
        entrypointFileName: 'settlement.tolk',
        fsReadCallback: (path) => readFileSync(new URL(path, folder), 'utf8'),
    });
    if (result.status === 'error') throw new Error(result.message);
    const code = { tolk: result.tolkVersion, hash: result.codeHashHex.toLowerCase(), boc: result.codeBoc64 };
    return { code, fift: result.fiftCode };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
    const { code, fift } = await compile();
    if (process.argv[2] === '--fift') {
        process.stdout.write(fift);
    } else {
        writeFileSync(codeFile, `${JSON.stringify(code, null, 2)}\n`);
        const readme = new URL('README.md', folder);
        writeFileSync(readme, readFileSync(readme, 'utf8').replace(/Code hash:\s+`\w+`/, `Code hash: \`${code.hash}\``));
        console.log(`settlement.code.json: code hash ${code.hash}, ${Buffer.from(code.boc, 'base64').length} bytes`);
    }
}
