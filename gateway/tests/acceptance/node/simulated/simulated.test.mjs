// What only an engine that does as it is told can show.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import OpenAI from "openai";

import { collect, model, newCaller, receipt, settled, stack, textOf, until } from "../stack.mjs";

const messages = [{ role: "user", content: "What about Lyon?" }];
const tools = ["weather", "population"].map((name) => ({
  type: "function",
  function: {
    name,
    parameters: { type: "object", properties: { city: { type: "string", enum: ["Lyon", "Como"] } }, required: ["city"] },
  },
}));

async function cancelled() {
  const counts = await Promise.all(
    Object.values(stack.engines).map(async (url) => (await (await fetch(`${url}/stats`)).json()).cancelled),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

describe("the simulated engine", () => {
  let caller;
  let client;
  before(async () => {
    caller = await newCaller();
    client = caller.client;
  });
  after(async () => {
    await settled(caller.account);
  });

  it("gets the client's fields as they were sent", async () => {
    const sent = { model, messages, max_tokens: 2, seed: 7, stop: ["END"], user: "u", metadata: { a: "b" }, sim: { echo: true }, x_unknown: [1] };
    const answer = await client.chat.completions.create(sent);
    assert.equal(answer.sim_echo.body, JSON.stringify(sent));
  });

  it("calls the tool it must call", async () => {
    const answer = await client.chat.completions.create({
      model,
      messages,
      tools,
      tool_choice: { type: "function", function: { name: "population" } },
    });
    assert.equal(answer.choices[0].finish_reason, "tool_calls");
    const [call] = answer.choices[0].message.tool_calls;
    assert.equal(call.function.name, "population");
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Lyon" });
  });

  it("streams a tool call that the client's helper puts together", async () => {
    const stream = client.chat.completions.stream({ model, messages, tools, tool_choice: "required" });
    const final = await stream.finalChatCompletion();
    const [call] = final.choices[0].message.tool_calls;
    assert.equal(call.function.name, "weather");
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Lyon" });
  });

  it("answers the same to the same seed, and stops where it is told", async () => {
    const ask = async (more) => (await client.chat.completions.create({ model, messages, max_tokens: 20, ...more })).choices[0];
    const first = await ask({ seed: 5 });
    assert.equal((await ask({ seed: 5 })).message.content, first.message.content);
    assert.notEqual((await ask({ seed: 6 })).message.content, first.message.content);
    const stop = first.message.content.split(" ")[3];
    const stopped = await ask({ seed: 5, stop });
    assert.equal(stopped.finish_reason, "stop");
    assert.ok(!stopped.message.content.includes(stop));
  });

  it("is told at once when a caller leaves", async () => {
    const had = await cancelled();
    const request = { model, messages, max_tokens: 4000, stream: true, sim: { tokens: 4000, itl_ms: 4 } };
    const { data, response } = await client.chat.completions.create(request).withResponse();
    for await (const chunk of data) if (chunk.choices[0].delta.content) break;
    data.controller.abort();
    await until(async () => (await cancelled()) > had, "the engine to be told", 2);
    const { record } = await receipt(caller, response.headers.get("x-request-id"));
    assert.equal(record.outcome, "cancelled");
  });

  it("raises in the client when it refuses a request", async () => {
    const call = client.chat.completions.create({ model, messages, sim: { fault: { kind: "http_400" } } });
    await assert.rejects(call, (error) => error instanceof OpenAI.BadRequestError && error.type === "invalid_request_error");
  });

  it("is not heard twice: a stream has each token once", async () => {
    const request = { model, messages, max_tokens: 500, stream: true, sim: { tokens: 500 } };
    const whole = await client.chat.completions.create({ ...request, stream: false });
    const chunks = await collect(await client.chat.completions.create(request));
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
    assert.equal(text, whole.choices[0].message.content);
  });

  it("goes on where another broke off, and the client notices nothing", async () => {
    const request = { model, messages, max_tokens: 30, stream: true, stream_options: { include_usage: true } };
    const whole = await client.chat.completions.create({ ...request, stream: false, stream_options: undefined, sim: { tokens: 30 } });
    const sim = { tokens: 30, itl_ms: 5, fault: { kind: "close", at: 12, attempts: [1] } };
    const chunks = await collect(await client.chat.completions.create({ ...request, sim }));
    assert.equal(textOf(chunks), whole.choices[0].message.content);
    assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
    const choices = chunks.flatMap((chunk) => chunk.choices);
    assert.deepEqual(choices.map((choice) => choice.delta.role).filter(Boolean), ["assistant"]);
    assert.equal(choices.filter((choice) => choice.finish_reason).length, 1);
    assert.equal(chunks.find((chunk) => chunk.usage).usage.completion_tokens, 30);
    assert.equal(chunks.filter((chunk) => chunk.filature).length, 1, "a splice is told of");
  });
});
