// What only a real model shows.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import OpenAI from "openai";

import { model, newCaller, settled } from "../stack.mjs";

const tools = [
  {
    type: "function",
    function: {
      name: "weather",
      parameters: { type: "object", properties: { city: { type: "string", enum: ["Paris", "Rome"] } }, required: ["city"] },
    },
  },
];

describe("SmolLM2", () => {
  it("knows something", async () => {
    const { client, account } = await newCaller();
    const messages = [{ role: "user", content: "What is gravity?" }];
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 20, temperature: 0 });
    assert.match(answer.choices[0].message.content, /gravity/i);
    await settled(account);
  });

  it("calls a tool, held to its schema, through the client's own helper", async () => {
    const { client, account } = await newCaller();
    // So small a model calls no tool of its own accord: the call is begun for it, and the grammar does the rest.
    const messages = [
      { role: "user", content: "What is the weather in Rome?" },
      { role: "assistant", content: "<tool_call>\n" },
    ];
    const request = { model, messages, tools, tool_choice: "required", temperature: 0, max_tokens: 40 };
    const [call] = (await client.chat.completions.create(request)).choices[0].message.tool_calls;
    assert.equal(call.function.name, "weather");
    assert.ok(["Paris", "Rome"].includes(JSON.parse(call.function.arguments).city));
    await settled(account);
  });

  it("refuses a prompt that is too long in its own words", async () => {
    const { client, account } = await newCaller();
    const messages = [{ role: "user", content: "silk ".repeat(4000) }];
    const call = client.chat.completions.create({ model, messages, max_tokens: 5 });
    await assert.rejects(call, (error) => error instanceof OpenAI.BadRequestError);
    assert.equal((await settled(account)).spent, 0);
  });
});
