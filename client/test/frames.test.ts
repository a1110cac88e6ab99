import assert from "node:assert/strict";
import { test } from "node:test";
import { type Frame, frameParser } from "../src/frames.ts";

const TEXT = [
  ": ping",
  "",
  "event: data",
  "id: 000001_000002_00c0ffee",
  'data:["gr\u00fc\u00df","\u{1f600}\u2028"]',
  "",
  ":",
  "event: control",
  "data: {",
  "data: }",
  "",
  "event: data",
  "data:[1]",
  "",
  "event: data",
  "data:[unfinished",
].join("\n");

const FRAMES = [
  ["data", "000001_000002_00c0ffee", '["gr\u00fc\u00df","\u{1f600}\u2028"]'],
  ["control", undefined, "{\n}"],
  ["data", undefined, "[1]"],
];

function parse(pieces: Uint8Array[]): unknown[] {
  const parser = frameParser();
  return pieces.flatMap((piece) => parser(piece)).map(({ event, id, data }: Frame) => [event, id, data]);
}

for (const [name, newline] of Object.entries({ LF: "\n", CRLF: "\r\n", CR: "\r" })) {
  const bytes = new TextEncoder().encode(TEXT.replaceAll("\n", newline));

  test(`${name}: in one piece`, () => assert.deepEqual(parse([bytes]), FRAMES));

  test(`${name}: cut at every byte`, () => {
    for (let cut = 0; cut <= bytes.length; cut++) {
      assert.deepEqual(parse([bytes.slice(0, cut), bytes.slice(cut)]), FRAMES, `cut at ${cut}`);
    }
  });

  test(`${name}: byte by byte`, () => {
    assert.deepEqual(parse([...bytes].map((byte) => Uint8Array.of(byte))), FRAMES);
  });
}

for (const newline of ["\n", "\r"]) {
  test(`a frame is there as soon as its last byte is: ${JSON.stringify(newline)}`, () => {
    const parser = frameParser();
    const bytes = new TextEncoder().encode("event: data\ndata:[]\n\n".replaceAll("\n", newline));
    assert.deepEqual(parser(bytes.slice(0, -1)), []);
    assert.equal(parser(bytes.slice(-1)).length, 1);
    assert.deepEqual(parser(new TextEncoder().encode("\n")), []);
  });
}
