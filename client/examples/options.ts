import { openStream, StreamError, type StreamRef } from "streamstraight-celery";

type Event = { type: "delta"; text: string } | { type: "done"; tokens: number };

export async function read(ref: StreamRef, log: (line: string) => void): Promise<number> {
  const stream = openStream<Event>(ref, {
    persist: "answer", // after a reload, go on behind the last chunk: an item of sessionStorage
    pool: true, // share one connection with the page's other streams
    onError: (error) => log(`${error.code}, ${error.fatal ? "given up" : "trying again"}`),
    onReset: () => log("a new attempt began: forget what came before"),
  });
  try {
    for await (const event of stream) {
      if (event.type === "done") return event.tokens; // leaving the loop closes the connection
      log(event.text);
    }
  } catch (error) {
    if (error instanceof StreamError && error.endReason === "producer-error") log(error.message);
    else throw error;
  }
  return 0;
}

/** A codec of your own: its decoder takes the string that the task's encoder gave. */
export const dates = (ref: StreamRef) => openStream(ref, { decoder: (text) => new Date(text) });
