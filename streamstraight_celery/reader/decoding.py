"""Chunks to what the consumer asked for: plain JSON, a decoder's values, or checked types."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

from ..errors import ConfigurationError, MissingDependencyError

# From a chunk and its JSON text; that is `""` for bytes.
Decode = Callable[[Any, str], Any]


def make_decode(kind: Any, decoder: Callable[[str], Any] | None) -> Decode:
    """The function that `type=` and `decoder=` ask for.

    Raises:
        ConfigurationError: both are given, or no schema can be made of the type.
        MissingDependencyError: a type is given, and nothing that validates is installed.
    """
    if kind is None:
        return _value if decoder is None else _decoded_by(decoder)
    if decoder is not None:
        raise ConfigurationError("give either type= or decoder=, not both")
    return _msgspec(kind) if _is_struct(kind) else _pydantic(kind)


def name_of(kind: Any) -> str:
    """How messages call a type."""
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _value(value: Any, text: str) -> Any:
    return value


def _decoded_by(decoder: Callable[[str], Any]) -> Decode:
    if not callable(decoder):
        raise ConfigurationError("decoder= must be a function from str to a value")
    return lambda value, text: decoder(value)


def _is_struct(kind: Any) -> bool:
    """A `msgspec.Struct`, or a union of them: pydantic knows nothing of those."""
    parts = typing.get_args(kind) or (kind,)
    return any(hasattr(part, "__struct_fields__") for part in parts)


def _msgspec(kind: Any) -> Decode:
    import msgspec

    try:
        decode = msgspec.json.Decoder(kind).decode
    except TypeError as error:
        raise ConfigurationError(f"type={name_of(kind)}: {error}") from error
    return lambda value, text: decode(text) if text else msgspec.convert(value, kind)


def _pydantic(kind: Any) -> Decode:
    try:
        import pydantic
    except ImportError as error:
        raise MissingDependencyError("pydantic", "pydantic") from error
    try:
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(kind)
    except (pydantic.errors.PydanticUserError, NameError) as error:
        raise ConfigurationError(f"type={name_of(kind)}: {error}") from error
    # From the text, because strict types take more from JSON than from Python values.
    validate = adapter.validate_json
    return lambda value, text: validate(text) if text else adapter.validate_python(value)
