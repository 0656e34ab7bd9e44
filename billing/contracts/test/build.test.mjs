import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Cell } from '@ton/core';
import { codeFile, compile } from '../build.mjs';
import { constants } from '../js/settlement.mjs';
import { vectors, vectorsFile } from '../vectors.mjs';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

test('the committed code is what the source gives (else: npm run build)', async () => {
    const { code } = await compile();
    const committed = JSON.parse(readFileSync(codeFile, 'utf8'));
    assert.deepEqual(committed, code);
    assert.equal(Cell.fromBase64(committed.boc).hash().toString('hex'), committed.hash);
    assert.ok(readme.includes(committed.hash), 'README.md names another code hash');
});

test('the committed vectors are what the formats give (else: npm run vectors)', () => {
    assert.deepEqual(JSON.parse(readFileSync(vectorsFile, 'utf8')), vectors());
});

test('README.md lists every operation and every error with its number', () => {
    for (const [name, value] of Object.entries(constants)) {
        if (/^OP_/.test(name)) {
            const hex = `0x${value.toString(16).padStart(8, '0')}`;
            assert.match(readme, new RegExp(`\`${hex}\``), name);
        } else if (/^ERR_/.test(name)) {
            assert.match(readme, new RegExp(`^\\| ${value} \\| \`${name}\` \\|`, 'm'), name);
        }
    }
});

test('each operation in a struct of messages.tolk has its number in constants.tolk', () => {
    const messages = readFileSync(new URL('../src/messages.tolk', import.meta.url), 'utf8');
    const named = new Map(
        Object.entries(constants)
            .filter(([name]) => /^OP_/.test(name))
            .map(([name, op]) => [op, name]),
    );
    const camel = (name) =>
        name
            .slice(3)
            .toLowerCase()
            .replace(/(?:^|_)(.)/g, (_, letter) => letter.toUpperCase());
    for (const [, op, struct] of messages.matchAll(/^struct \((0x\w+)\) (\w+)Body/gm)) {
        assert.equal(camel(named.get(Number(op)) ?? 'OP_NONE'), struct);
    }
});

test('the lock file names no registry', () => {
    const lock = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'));
    for (const [name, entry] of Object.entries(lock.packages)) assert.equal(entry.resolved, undefined, name);
});
