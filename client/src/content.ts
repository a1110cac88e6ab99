/**
 * What a stream's chunks are. A JSON stream has JSON values. Any other stream has pieces of its
 * bytes: text for `text/*`, a `Uint8Array` for everything else.
 */
export class Content {
  readonly isText: boolean;
  readonly #isJson: boolean;
  /** Keeps half a character until the piece with the other half arrives. */
  #decoder = new TextDecoder();

  constructor(mediaType: string) {
    this.#isJson = mediaType === "application/json";
    this.isText = mediaType.startsWith("text/");
  }

  /** The chunk of a JSON value or of a piece in base64; `undefined` if it is not complete yet. */
  chunk(piece: unknown): unknown {
    if (this.#isJson) return piece;
    const bytes = bytesOf(piece as string);
    return (this.isText ? this.#decoder.decode(bytes, { stream: true }) : bytes.length && bytes) || undefined;
  }

  /** What is left at the end: half a character. */
  rest(): string {
    return this.#decoder.decode();
  }

  /** The stream begins again. */
  reset(): void {
    this.#decoder = new TextDecoder();
  }
}

export function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** A `Content-Type` header without its parameters, in lower case. */
export function mediaTypeOf(header: string | null): string {
  return (header ?? "").split(";", 1)[0]!.trim().toLowerCase();
}
