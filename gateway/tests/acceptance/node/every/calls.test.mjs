// Chat, completions, embeddings and models through the official Node client, on whatever engine there is.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { collect, model, newCaller, receipt, settled, textOf } from "../stack.mjs";

const messages = [{ role: "user", content: "Name a city in Italy and say why one might go there." }];

describe("calls", () => {
  let caller;
  let client;
  before(async () => {
    caller = await newCaller();
    client = caller.client;
  });
  after(async () => {
    await settled(caller.account);
  });

  it("answers in one piece, with usage", async () => {
    const { data, response } = await client.chat.completions.create({ model, messages, max_tokens: 8 }).withResponse();
    assert.equal(data.object, "chat.completion");
    assert.equal(data.model, model);
    assert.ok(data.choices[0].message.content);
    assert.ok(data.usage.completion_tokens > 0 && data.usage.completion_tokens <= 8);
    assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
    assert.match(response.headers.get("x-request-id"), /^gen-/);
    assert.equal(data._request_id, response.headers.get("x-request-id"));
  });

  it("streams without usage where none is asked for", async () => {
    const chunks = await collect(await client.chat.completions.create({ model, messages, max_tokens: 8, stream: true }));
    assert.ok(textOf(chunks));
    assert.ok(chunks.every((chunk) => !chunk.usage && chunk.choices.length > 0));
    const reasons = chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.finish_reason).filter(Boolean);
    assert.equal(reasons.length, 1);
    assert.ok(["length", "stop"].includes(reasons[0]));
  });

  it("streams usage once and last where it is asked for", async () => {
    const request = { model, messages, max_tokens: 8, stream: true, stream_options: { include_usage: true } };
    const chunks = await collect(await client.chat.completions.create(request));
    assert.equal(chunks.filter((chunk) => chunk.usage).length, 1);
    const last = chunks.at(-1);
    assert.equal(last.choices.length, 0);
    assert.ok(last.usage.completion_tokens > 0 && last.usage.completion_tokens <= 8);
  });

  it("gives two choices", async () => {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 4, n: 2 });
    assert.deepEqual(answer.choices.map((choice) => choice.index).sort(), [0, 1]);
    assert.ok(answer.choices.every((choice) => choice.message.content));
  });

  it("lists log probabilities", async () => {
    const request = { model, messages, max_tokens: 3, temperature: 0, logprobs: true, top_logprobs: 2 };
    const answer = await client.chat.completions.create(request);
    assert.equal(answer.choices[0].logprobs.content.length, 3);
    assert.ok(answer.choices[0].logprobs.content.every((token) => token.logprob <= 0 && token.top_logprobs.length === 2));
  });

  it("keeps to a JSON schema", async () => {
    const schema = {
      type: "object",
      properties: { city: { type: "string", enum: ["Como", "Lucca"] }, old: { type: "boolean" } },
      required: ["city", "old"],
      additionalProperties: false,
    };
    const answer = await client.chat.completions.create({
      model,
      messages,
      max_tokens: 60,
      temperature: 0,
      response_format: { type: "json_schema", json_schema: { name: "city", strict: true, schema } },
    });
    const parsed = JSON.parse(answer.choices[0].message.content);
    assert.ok(["Como", "Lucca"].includes(parsed.city));
    assert.equal(typeof parsed.old, "boolean");
  });

  it("works with the client's own streaming helper", async () => {
    // It insists on an answer that ended by itself, so the first blank ends it.
    const stream = client.chat.completions.stream({ model, messages, max_tokens: 40, stop: [" "] });
    let text = "";
    stream.on("content", (delta) => (text += delta));
    const final = await stream.finalChatCompletion();
    assert.equal(final.choices[0].message.content, text);
    assert.ok(text);
  });

  it("completes", async () => {
    const answer = await client.completions.create({ model, prompt: "Once upon a time", max_tokens: 4, temperature: 0 });
    assert.ok(answer.choices[0].text);
    assert.equal(answer.usage.completion_tokens, 4);
    const chunks = await collect(await client.completions.create({ model, prompt: "Once", max_tokens: 4, stream: true }));
    assert.ok(chunks.map((chunk) => chunk.choices[0].text).join(""));
    assert.ok(chunks.every((chunk) => !chunk.usage));
  });

  it("embeds", async () => {
    const answer = await client.embeddings.create({ model, input: ["silk", "thread"] });
    assert.equal(answer.data.length, 2);
    assert.equal(answer.data[0].embedding.length, answer.data[1].embedding.length);
    assert.ok(answer.data[0].embedding.every((number) => Number.isFinite(number)));
    assert.ok(answer.usage.prompt_tokens > 0);
  });

  it("lists and shows models", async () => {
    const listed = await collect(client.models.list());
    assert.ok(listed.some((each) => each.id === model));
    const shown = await client.models.retrieve(model);
    assert.equal(shown.id, model);
    assert.equal(shown.object, "model");
  });

  it("charges what the receipt says", async () => {
    const own = await newCaller();
    const { data, response } = await own.client.chat.completions.create({ model, messages, max_tokens: 5 }).withResponse();
    const { record } = await receipt(own, response.headers.get("x-request-id"));
    assert.equal(record.billed.prompt, data.usage.prompt_tokens);
    assert.equal(record.billed.completion, data.usage.completion_tokens);
    assert.equal((await settled(own.account)).spent, record.cost);
  });

  it("serves fifty streams at once", async () => {
    const one = async (number) => {
      const request = {
        model,
        messages: [{ role: "user", content: `Count from ${number}.` }],
        max_tokens: 4,
        stream: true,
        stream_options: { include_usage: true },
      };
      return collect(await client.chat.completions.create(request));
    };
    const answers = await Promise.all(Array.from({ length: 50 }, (_, number) => one(number)));
    assert.equal(answers.length, 50);
    for (const chunks of answers) {
      assert.ok(textOf(chunks));
      assert.ok(chunks.at(-1).usage.completion_tokens <= 4);
    }
  });

  it("stops paying soon after the caller leaves a stream", async () => {
    const own = await newCaller();
    const long = [{ role: "user", content: "Count to one thousand." }];
    // A small model may stop early of its own accord: llama.cpp goes on where `ignore_eos` says so, others ignore it.
    const endless = { ignore_eos: true, sim: { tokens: 1500, itl_ms: 4 } };
    const request = { model, messages: long, max_tokens: 1500, stream: true, ...endless };
    const { data, response } = await own.client.chat.completions.create(request).withResponse();
    let read = 0;
    for await (const chunk of data) {
      if (chunk.choices[0].delta.content) read += 1;
      if (read === 5) break;
    }
    data.controller.abort();
    const { record } = await receipt(own, response.headers.get("x-request-id"));
    assert.equal(record.outcome, "cancelled");
    assert.ok(record.billed.completion >= read && record.billed.completion < 1000, JSON.stringify(record.billed));
    assert.equal((await settled(own.account)).spent, record.cost);
  });
});
