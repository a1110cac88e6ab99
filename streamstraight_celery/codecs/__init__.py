"""Codecs: a chunk to a string, and back.

A codec of kind `json` gives JSON text, which is stored and sent as it is. A custom encoder gives
any string (kind `text`), which is stored as a JSON string; the reader's decoder gets that string.
An encoder that returns `""` makes no chunk.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring as json_string
from typing import Any, Literal

from celery.exceptions import SoftTimeLimitExceeded

from .errors import ConfigurationError, EncodeError, PublicError

Kind = Literal["json", "text"]
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
        kind: `json` when `encode` gives JSON text, `text` when it gives any string.
    """

    name: str
    encode: Encoder
    decode: Decoder
    kind: Kind = "text"


def wire_encoder(codec: Codec) -> Encoder:
    """Return a function from chunk to the one-line JSON text that is stored, or `""` for no chunk.

    That function raises `EncodeError` when the codec fails or returns something other than `str`;
    a `PublicError` of the codec's own goes through.
    """
    encode = codec.encode
    is_json = codec.kind == "json"

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
        # In JSON text a raw line break is only white space, and chunks are kept one a line.
        if "\n" in text or "\r" in text:
            return _LINE_BREAKS.sub(" ", text)
        return text

    return to_wire


def utf8(text: str) -> bytes:
    """Encode JSON text; a lone surrogate (half of a split emoji) is written as a JSON escape."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode()


def decode_wire(codec: Codec, text: str) -> Any:
    """Turn one stored JSON text back into a chunk."""
    return codec.decode(text if codec.kind == "json" else json.loads(text))


def _json_default(value: Any) -> Any:
    """Turn a value that JSON does not know into one that it does (nested inside a chunk)."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (uuid.UUID, decimal.Decimal)):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} is not JSON-serialisable")


_dumps = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_json_default
).encode


def _encoder_for(kind: type) -> Encoder:
    """Choose how chunks of this type become JSON text."""
    if kind is type(None):
        raise EncodeError("the generator yielded None: yield the chunk, or do not yield")
    if issubclass(kind, (bytes, bytearray, memoryview)):
        raise EncodeError(
            f"the generator yielded {kind.__name__}: decode it first, or set encoder="
        )
    if issubclass(kind, str) and not issubclass(kind, enum.Enum):
        return json_string
    to_json = getattr(kind, "to_json", None)
    if callable(to_json):
        return _sdk_encoder(to_json)
    if callable(getattr(kind, "model_dump_json", None)):
        return lambda chunk: chunk.model_dump_json()
    return _dumps


def _sdk_encoder(to_json: Callable[..., Any]) -> Encoder:
    """Encoder for objects with `to_json`.

    The OpenAI and Anthropic SDKs' `to_json(indent=None, warnings=False)` reproduces the wire JSON
    of an event, which `model_dump_json()` does not always do. Any other class's `to_json` may
    return anything, so its answer is checked.
    """
    try:
        parameters = set(inspect.signature(to_json).parameters)
    except (TypeError, ValueError):
        parameters = set()
    if "indent" in parameters and "warnings" in parameters:
        return lambda chunk: chunk.to_json(indent=None, warnings=False)

    def checked(chunk: Any) -> str:
        text = chunk.to_json()
        if not isinstance(text, str):
            raise EncodeError(f"{type(chunk).__name__}.to_json() returned {type(text).__name__}")
        json.loads(text)
        return text

    return checked


def encode_json(chunk: Any) -> str:
    """Encode a chunk as JSON text: SDK events, pydantic models, dataclasses, mappings, strings."""
    kind = type(chunk)
    encoder = _ENCODERS.get(kind)
    if encoder is None:
        if len(_ENCODERS) >= _MOST_KINDS:
            _ENCODERS.clear()
        encoder = _ENCODERS[kind] = _encoder_for(kind)
    return encoder(chunk)


# Only a memo of _encoder_for, which depends on nothing but the type. It begins anew when it is
# full: there are applications that make a class for each request.
_ENCODERS: dict[type, Encoder] = {}
_MOST_KINDS = 1000

JSON = Codec("json", encode_json, json.loads, "json")
_REGISTRY: dict[str, Codec] = {"json": JSON}


def register_codec(
    name: str, encode: Encoder, decode: Decoder = str, *, kind: Kind = "text"
) -> Codec:
    """Register a codec under `name`, for `@stream_task(codec=name)` or `stream_codec = name`.

    Raises:
        ConfigurationError: the name is taken by other functions, or a function is not callable.
    """
    if not callable(encode) or not callable(decode):
        raise ConfigurationError(f"codec {name!r}: encode and decode must be functions")
    codec = Codec(name, encode, decode, kind)
    if _REGISTRY.get(name, codec) != codec:
        raise ConfigurationError(f"a codec named {name!r} is registered already")
    _REGISTRY[name] = codec
    return codec


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
