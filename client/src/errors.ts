import type { EndReason } from "./types.ts";

/** What a `StreamError` is made of. */
export interface Failure {
  code: string;
  message: string;
  status?: number;
  endReason?: EndReason;
  cause?: unknown;
}

/**
 * A stream that failed. `code` is the relay's own where it gave one, else an end reason, or:
 * retried: `network`, `timeout`, `disconnected`, `unavailable`, `token`;
 * fatal: `unauthorized`, `not-found`, `gone`, `superseded`, `bad-request`, `bad-response`, `bad-frame`.
 */
export class StreamError extends Error {
  override name = "StreamError";
  declare readonly code: string;
  /** The HTTP status, where there was one. */
  declare readonly status?: number;
  /** Set when the stream itself ended badly, for example `producer-error`. */
  declare readonly endReason?: EndReason;
  /** The id of the stream: a page may read many. */
  declare readonly streamId?: string;
  /** False when the client goes on by itself. */
  readonly fatal: boolean;

  constructor(failure: Failure, fatal = true) {
    super();
    Object.assign(this, failure);
    this.fatal = fatal;
  }
}

/** Says in an error which stream it is about. */
export function named<E>(error: E, streamId: string): E {
  if (error instanceof StreamError && !error.streamId) Object.assign(error, { streamId });
  return error;
}

/** The stream began again and no `onReset` was given to drop what the old attempt had sent. */
export class StreamResetError extends StreamError {
  override name = "StreamResetError";
  readonly attempt: number;

  constructor(attempt: number) {
    super({ code: "superseded", message: `superseded by attempt ${attempt}`, status: 410 });
    this.attempt = attempt;
  }
}
