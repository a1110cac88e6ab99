"""The default codec: data as JSON text."""

from __future__ import annotations

import json
from collections.abc import Callable
from json.encoder import encode_basestring as json_string
from typing import Any, NoReturn

from ..errors import EncodeError
from .codec import Codec, register
from .data import (
    MOST_KINDS,
    NotFiniteError,
    model_text,
    own_json,
    plain,
    sdk_json,
    step,
)
from .frameworks import PROJECTIONS, container_reducer, framework_reducer


def _compact(**options: Any) -> Callable[[Any], str]:
    return json.JSONEncoder(
        ensure_ascii=False, separators=(",", ":"), allow_nan=False, **options
    ).encode


_dumps = _compact(default=step)
_dumps_plain = _compact()


def encode_json(chunk: Any, nan: str = "error") -> str:
    """Encode data as JSON text on one line: see `data` for what is data.

    Args:
        chunk: the data.
        nan: `null` sends NaN and Infinity as null.

    Raises:
        EncodeError: it is not data; the message names the path to what is not.
    """
    kind = type(chunk)
    encoder = _ENCODERS.get(kind)
    if encoder is None:
        if len(_ENCODERS) >= MOST_KINDS:
            _ENCODERS.clear()
        encoder = _ENCODERS[kind] = _encoder_for(kind)
    return _finite_or_null(encoder, chunk, nan)


def _finite_or_null(encoder: Callable[[Any], str], chunk: Any, nan: str) -> str:
    try:
        return encoder(chunk)
    except NotFiniteError:
        if nan != "null":
            raise
        return _dumps_plain(plain(chunk, nan=nan))


def _encoder_for(kind: type) -> Callable[[Any], str]:
    """Choose how chunks of this type become JSON text."""
    if kind is type(None):
        raise EncodeError("the generator yielded None: yield the chunk, or do not yield")
    if issubclass(kind, (bytes, bytearray, memoryview)):
        raise EncodeError(
            f'the generator yielded {kind.__name__}: decode it first, or set codec="bytes"'
        )
    if kind is str:
        return json_string
    if framework := framework_reducer(kind):
        return _projected(framework)
    if kind in (dict, tuple):
        return _encode_container
    for choose in (sdk_json, own_json, _model_json):
        if (text := choose(kind)) is not None:
            return _finite(text)
    return _encode_data


def _projected(project: Callable[[Any], Any]) -> Callable[[Any], str]:
    """Encode what a framework's event becomes; `""` for nothing."""

    def encode(chunk: Any) -> str:
        try:
            shown = project(chunk)
        except ValueError:
            plain(chunk)  # names the path
            raise
        return "" if shown is None else _encode_data(shown)

    return encode


def _encode_container(chunk: Any) -> str:
    project = container_reducer(chunk)
    return _encode_data(chunk) if project is None else _projected(project)(chunk)


def _model_json(kind: type) -> Callable[[Any], str] | None:
    encode = model_text(kind)
    if encode is None:
        return None

    def with_fallback(chunk: Any) -> str:
        text = encode(chunk)
        return _encode_data(chunk) if text is None else text

    return with_fallback


def _finite(encode: Callable[[Any], str]) -> Callable[[Any], str]:
    """Check text that others wrote: `json.dumps` and pydantic can write NaN, which is not JSON."""

    def checked(chunk: Any) -> str:
        text = encode(chunk)
        if "NaN" in text or "Infinity" in text:
            json.loads(text, parse_constant=lambda name: _refuse(chunk, name))
        return text

    return checked


def _refuse(chunk: Any, name: str) -> NoReturn:
    plain(chunk)  # names the path, unless only the object's own text has it
    raise NotFiniteError(f"{type(chunk).__name__} wrote {name}, which is not JSON")


def _encode_data(chunk: Any) -> str:
    try:
        return _dumps(chunk)
    except (EncodeError, TypeError, ValueError, RecursionError):
        # Slower: says where the fault is, and takes keys that JSON does not know.
        return _dumps_plain(plain(chunk))


_ENCODERS: dict[type, Callable[[Any], str]] = {}


def _registered(name: str, project: Callable[[Any], Any]) -> Codec:
    """Register a framework's codec: its events become less, everything else is data as ever."""

    def encode(chunk: Any, nan: str = "error") -> str:
        shown = project(chunk)
        if shown is chunk:
            return encode_json(chunk, nan)
        return "" if shown is None else _finite_or_null(_encode_data, shown, nan)

    return register(Codec(name, encode, json.loads, "json", project=project))


JSON: Codec = register(Codec("json", encode_json, json.loads, "json", project=lambda chunk: chunk))
FRAMEWORKS: dict[str, Codec] = {
    name: _registered(name, project) for name, project in PROJECTIONS.items()
}
