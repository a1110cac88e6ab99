"""Codecs by name, and how their strings are stored.

A codec of kind `json` gives JSON text, which is stored and sent as it is. A custom encoder gives
any string (kind `text`), which is stored as a JSON string; the reader's decoder gets that string.
A codec of kind `bytes` gives base64, which the relay server turns into the bytes again.
An encoder that returns `""` makes no chunk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from json.encoder import encode_basestring as json_string
from typing import Any, Literal

from celery.exceptions import SoftTimeLimitExceeded

from ..errors import ConfigurationError, EncodeError, PublicError

Kind = Literal["json", "text", "bytes"]
Encoder = Callable[[Any], str]
Decoder = Callable[[str], Any]

_LINE_BREAKS = re.compile(r"[\r\n]")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Codec:
    """A named pair of functions.

    Args:
        name: what tasks and settings call it.
        encode: chunk to `str`; `""` means no chunk.
        decode: the string back to a chunk.
        kind: `json` when `encode` gives JSON text, `text` when it gives any string, `bytes` when it
            gives base64 of a stream of bytes.
    """

    name: str
    encode: Encoder
    decode: Decoder
    kind: Kind = "text"
    # Of the package's own codecs: what `encode` makes of a chunk, before it is JSON text.
    project: Callable[[Any], Any] | None = field(default=None, compare=False, repr=False)


def wire_encoder(codec: Codec, nan: str = "error") -> Encoder:
    """Return a function from chunk to the one-line JSON text that is stored, or `""` for no chunk.

    That function raises `EncodeError` when the codec fails or returns something other than `str`,
    and when a codec of kind `json` returns something other than JSON; a `PublicError` of the
    codec's own goes through.

    Args:
        codec: what encodes.
        nan: `null` sends NaN and Infinity as null.
    """
    encode = _own_encoder(codec, nan)
    is_json = codec.kind == "json"
    is_checked = codec.project is None

    def to_wire(chunk: Any) -> str:
        try:
            text = encode(chunk)
        except (EncodeError, PublicError, SoftTimeLimitExceeded):
            raise
        except Exception as error:
            raise EncodeError(
                f"codec {codec.name!r} could not encode a chunk of type "
                f"{type(chunk).__name__}: {type(error).__name__}: {error}"
            ) from error
        if type(text) is not str and not isinstance(text, str):
            raise EncodeError(
                f"codec {codec.name!r} returned {type(text).__name__}, not str"
                + (": decode the bytes, for example .decode()" if type(text) is bytes else "")
            )
        if not text:
            return ""
        if not is_json:
            return json_string(text)
        if is_checked:
            text = _checked(codec, text, nan)
        # In JSON text a raw line break is only white space, and chunks are kept one a line.
        if "\n" in text or "\r" in text:
            return _LINE_BREAKS.sub(" ", text)
        return text

    return to_wire


def _own_encoder(codec: Codec, nan: str) -> Encoder:
    if codec.project is None or nan == "error":
        return codec.encode
    return lambda chunk: codec.encode(chunk, nan)  # type: ignore[call-arg]


def _checked(codec: Codec, text: str, nan: str) -> str:
    """Check that the text of somebody else's encoder is JSON."""

    def constant(name: str) -> None:
        if nan == "error":
            raise EncodeError(f"codec {codec.name!r} returned {name}, which is not JSON")

    try:
        value = json.loads(text, parse_constant=constant)
    except ValueError as error:
        raise EncodeError(f"codec {codec.name!r} returned text that is not JSON: {error}") from None
    if nan == "null" and ("NaN" in text or "Infinity" in text):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text


def utf8(text: str) -> bytes:
    """Encode JSON text; a lone surrogate (half of a split emoji) is written as a JSON escape."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode()


_REGISTRY: dict[str, Codec] = {}


def register(codec: Codec) -> Codec:
    """Register a codec under its name.

    Raises:
        ConfigurationError: the name is taken by other functions.
    """
    if _REGISTRY.get(codec.name, codec) != codec:
        raise ConfigurationError(f"a codec named {codec.name!r} is registered already")
    _REGISTRY[codec.name] = codec
    return codec


def register_codec(
    name: str, encode: Encoder, decode: Decoder = str, *, kind: Kind = "text"
) -> Codec:
    """Register a codec under `name`, for `@stream_task(codec=name)` or `stream_codec = name`.

    Raises:
        ConfigurationError: the name is taken by other functions, or a function is not callable.
    """
    if not callable(encode) or not callable(decode):
        raise ConfigurationError(f"codec {name!r}: encode and decode must be functions")
    return register(Codec(name, encode, decode, kind))


def get_codec(codec: str | Codec | None = None, *, encoder: Encoder | None = None) -> Codec:
    """Return the codec a task asked for by name, as an object, or as an encoder function.

    Raises:
        ConfigurationError: unknown name, or both a codec and an encoder.
    """
    if encoder is not None:
        if codec is not None:
            raise ConfigurationError("give either codec= or encoder=, not both")
        if not callable(encoder):
            raise ConfigurationError("encoder= must be a function from chunk to str")
        return Codec(getattr(encoder, "__name__", "encoder"), encoder, str, "text")
    if isinstance(codec, Codec):
        return codec
    name = "json" if codec is None else codec
    try:
        return _REGISTRY[name]
    except KeyError:
        known = ", ".join(sorted(_REGISTRY))
        raise ConfigurationError(
            f"unknown codec {name!r}; known: {known}. Register it with register_codec()"
        ) from None
