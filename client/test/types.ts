// Compiled, never run: what the types promise.
import { type EndReason, openStream, type Stream, StreamError, type StreamRef, type StreamStatus } from "../src/index.ts";

type Event = { type: "delta"; text: string } | { type: "done"; tokens: number };

declare const ref: StreamRef;
declare function is<T>(value: T): void;

export async function events(): Promise<void> {
  const stream = openStream<Event>(ref);
  for await (const event of stream) {
    if (event.type === "delta") is<string>(event.text);
    else is<number>(event.tokens);
  }
  is<StreamStatus>(stream.status);
  is<EndReason | undefined>(stream.endReason);
  // @ts-expect-error the status is the client's to change
  stream.status = "open";
}

export async function unknownByDefault(): Promise<void> {
  for await (const chunk of openStream("https://relay.example/v1/stream/abc")) {
    is<unknown>(chunk);
    // @ts-expect-error nothing is known of it
    chunk.text;
  }
}

is<Stream<number>>(openStream(ref, { decoder: Number }));
is<Stream<Date>>(openStream(ref, { decoder: (text) => new Date(text), offset: undefined, token: undefined }));
openStream(ref, { fetch });
openStream(ref, { onError: (error) => is<StreamError>(error), onReset: (attempt) => is<number>(attempt) });
openStream(ref, { getToken: () => Promise.reject(new StreamError({ code: "logged-out", message: "log in again" })) });
// @ts-expect-error a decoder is given strings
openStream(ref, { decoder: (bytes: Uint8Array) => bytes });
// @ts-expect-error no such option
openStream(ref, { tokens: "t" });
