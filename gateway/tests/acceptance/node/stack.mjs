// What every test starts from: the running stack, a caller with money, and a look at the money afterwards.

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import assert from "node:assert/strict";

import OpenAI from "openai";

const path = process.env.FILATURE_TEST_STACK;
assert(path, "FILATURE_TEST_STACK is not set: start the suites with gateway/tests/acceptance/run.py");

/** The description that `filature_stack/stack.py` explains. */
export const stack = JSON.parse(readFileSync(path, "utf8"));
export const model = stack.model;
export const baseURL = `${stack.origin}/v1`;

const run = promisify(execFile);

/** One command of the operator, and the JSON it prints. */
export async function operator(...args) {
  const { stdout } = await run(stack.programs.filature, [...args, ...stack.ledger_arguments, "--json"]);
  return JSON.parse(stdout);
}

/** Waits for a condition; what it returns when it is true. */
export async function until(condition, what, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s in vain: ${what}`);
    await sleep(20);
  }
}

/** A new account with a key of its own. */
export async function newCaller(ton = "10") {
  const { id: account } = await operator("accounts", "create", "node suite");
  if (ton !== "0") await operator("accounts", "credit", account, ton);
  const { key, record } = await operator("keys", "create", "--account", account);
  // Without retries: each error is to be seen.
  const client = new OpenAI({ baseURL, apiKey: key, maxRetries: 0, timeout: 120_000 });
  return { account, keyId: record.id, key, client };
}

/** The account's money, once nothing is held, which must be soon: a call settles when it ends. */
export async function settled(account) {
  const balance = await until(async () => {
    const shown = await operator("accounts", "show", account);
    return shown.held === 0 && shown;
  }, `nothing to be held for ${account}`);
  assert.equal(balance.deposited, balance.available + balance.held + balance.spent + balance.withdrawn);
  return balance;
}

/** The receipt of a call, which is there once the call is settled. */
export async function receipt(caller, call) {
  return until(async () => {
    const answer = await fetch(`${baseURL}/receipts/${call}`, { headers: { authorization: `Bearer ${caller.key}` } });
    return answer.status === 200 && answer.json();
  }, `the receipt of ${call}`);
}

/** All items of a stream. */
export async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** The text of one choice, put together from its chunks. */
export function textOf(chunks, index = 0) {
  return chunks
    .flatMap((chunk) => chunk.choices)
    .filter((choice) => choice.index === index)
    .map((choice) => choice.delta.content ?? "")
    .join("");
}
