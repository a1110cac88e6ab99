import type { EndReason } from "./types.ts";

/** The fields of a `StreamError`. */
export interface Failure {
  code: string;
  message: string;
  status?: number;
  endReason?: EndReason;
  cause?: unknown;
}

/**
 * A stream that failed. `code` is the relay's if it gave one, an end reason, or:
 * retried: `network`, `timeout`, `disconnected`, `unavailable`, `token`;
 * fatal: `unauthorized`, `not-found`, `gone`, `superseded`, `bad-request`, `bad-response`, `bad-frame`.
 */
export class StreamError extends Error {
  override name = "StreamError";
  declare readonly code: string;
  /** The HTTP status, if there was one. */
  declare readonly status?: number;
  /** Set when the stream itself ended badly, for example `producer-error`. */
  declare readonly endReason?: EndReason;
  /** The id of the stream: a page may read many. */
  declare readonly streamId?: string;
  /** False when the client retries by itself. */
  readonly fatal: boolean;

  constructor(failure: Failure, fatal = true) {
    super();
    Object.assign(this, failure);
    this.fatal = fatal;
  }
}

/** Adds the stream's id to an error. */
export function named<E>(error: E, streamId: string): E {
  if (error instanceof StreamError && !error.streamId) Object.assign(error, { streamId });
  return error;
}

/** A new attempt began, and there is no `onReset` to drop the chunks of the old one. */
export class StreamResetError extends StreamError {
  override name = "StreamResetError";
  readonly attempt: number;

  constructor(attempt: number) {
    super({ code: "superseded", message: `superseded by attempt ${attempt}`, status: 410 });
    this.attempt = attempt;
  }
}
