import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gasTable, writtenTable } from '../gas.mjs';

test('the costs in README.md are those measured (else: npm run gas -- --write)', async () => {
    assert.equal(writtenTable(), await gasTable());
});
