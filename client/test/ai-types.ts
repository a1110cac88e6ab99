// Compiled, never run: the transport is one of each AI SDK, and the hooks of each take it.
import type { ChatTransport as Transport5, UIMessage as Message5 } from "ai5";
import type { ChatTransport as Transport6, UIMessage as Message6 } from "ai6";
import type { ChatTransport as Transport7, UIMessage as Message7 } from "ai7";
import { resumeOnReset, StreamTransport } from "streamstraight-celery/ai-sdk";

const transport = new StreamTransport({ api: "/chat", stream: { pool: true } });
export const five: Transport5<Message5> = transport;
export const six: Transport6<Message6> = transport;
export const seven: Transport7<Message7> = transport;
export const onError: (error: Error) => void = resumeOnReset(async () => {});
