// Each error raises in the official Node client what it raises against OpenAI, and charges nothing.

import assert from "node:assert/strict";
import { before, describe, it } from "node:test";

import OpenAI from "openai";

import { baseURL, model, newCaller, operator, settled, until } from "../stack.mjs";

const messages = [{ role: "user", content: "Hi" }];

/** The error a call raises. */
async function raised(call) {
  try {
    await call;
  } catch (error) {
    return error;
  }
  assert.fail("nothing was raised");
}

function check(error, kind, status, code) {
  assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
  assert.equal(error.status, status);
  assert.equal(error.code, code);
  assert.ok(error.requestID);
  assert.ok(error.error.message);
}

describe("errors", () => {
  let caller;
  let client;
  before(async () => {
    caller = await newCaller();
    client = caller.client;
  });

  it("401 for a key that does not exist", async () => {
    const stranger = new OpenAI({ baseURL, apiKey: `sk-fil-${"x".repeat(43)}`, maxRetries: 0 });
    const error = await raised(stranger.chat.completions.create({ model, messages }));
    check(error, OpenAI.AuthenticationError, 401, "invalid_api_key");
  });

  it("401 for a revoked key", async () => {
    const own = await newCaller();
    await operator("keys", "revoke", own.keyId);
    const error = await raised(own.client.chat.completions.create({ model, messages, max_tokens: 1 }));
    check(error, OpenAI.AuthenticationError, 401, "invalid_api_key");
  });

  it("402 without credit", async () => {
    const poor = await newCaller("0");
    const error = await raised(poor.client.chat.completions.create({ model, messages, max_tokens: 1 }));
    check(error, OpenAI.APIError, 402, "insufficient_quota");
    assert.equal((await settled(poor.account)).spent, 0);
  });

  it("404 for a model nobody serves", async () => {
    const calls = [
      () => client.chat.completions.create({ model: "no-such-model", messages }),
      () => client.completions.create({ model: "no-such-model", prompt: "Hi" }),
      () => client.embeddings.create({ model: "no-such-model", input: "Hi" }),
      () => client.models.retrieve("no-such-model"),
    ];
    for (const call of calls) check(await raised(call()), OpenAI.NotFoundError, 404, "model_not_found");
  });

  it("400 that names the field", async () => {
    for (const [param, bad] of Object.entries({ messages: [], n: 0, max_tokens: -1, stream: "yes" })) {
      const error = await raised(client.chat.completions.create({ model, messages, [param]: bad }));
      assert.ok(error instanceof OpenAI.BadRequestError, `${param}: ${error}`);
      assert.equal(error.param, param);
      assert.equal(error.type, "invalid_request_error");
    }
  });

  it("413 for a body over the limit", async () => {
    const huge = [{ role: "user", content: "x".repeat(3 << 20) }];
    const error = await raised(client.chat.completions.create({ model, messages: huge }));
    check(error, OpenAI.APIError, 413, "request_too_large");
  });

  it("charged nothing for all of this", async () => {
    assert.equal((await settled(caller.account)).spent, 0);
  });

  it("leaves nothing held when the caller leaves at once", async () => {
    const own = await newCaller();
    const leaving = new AbortController();
    const call = own.client.chat.completions.create({ model, messages, max_tokens: 500, stream: true }, { signal: leaving.signal });
    leaving.abort();
    await raised(call);
    await until(async () => (await settled(own.account)).held === 0, "nothing to be held");
  });
});
