"""Whether a class is declared as data: a dataclass, a model, a struct, and all of their fields.

An agent whose tools, hooks and client happen to be empty looks like data. Its declaration tells: a
field that may hold a function, a client or any other object that is not data makes the class no
data. What cannot be told from a declaration (`Any`, an abstract class) is told by the value.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import datetime
import decimal
import enum
import inspect
import ipaddress
import pathlib
import sys
import types
import typing
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from .frameworks import framework_reducer

# What a field may hold: anything; a float; bytes.
OPEN, FLOAT, BYTES = 1, 2, 4


class Declared(NamedTuple):
    """What a class declares.

    Attributes:
        problem: the path to a field that is not data, and its type's name; None for data.
        flags: what its fields may hold.
    """

    problem: tuple[str, str] | None
    flags: int


class _NotData(Exception):
    def __init__(self, name: str, path: str = "") -> None:
        super().__init__(name)
        self.name = name
        self.path = path

    def within(self, field: str) -> _NotData:
        inner = self.path if not self.path or self.path.startswith("[") else f".{self.path}"
        return _NotData(self.name, f"{field}{inner}")


_MEMO: dict[type, Declared] = {}
_FIELDS: dict[type, list[tuple[str, int]]] = {}
_MOST = 1000
_DATA: tuple[type, ...] = (
    str, int, bool, type(None), datetime.date, datetime.time, datetime.timedelta, uuid.UUID,
    decimal.Decimal, pathlib.PurePath, ipaddress._IPAddressBase, enum.Enum, datetime.tzinfo,
)  # fmt: skip
_ONE_USE = (
    collections.abc.Iterator,
    collections.abc.AsyncIterable,
    collections.abc.Awaitable,
)
_WRAPPERS = tuple(
    getattr(typing, name)
    for name in ("Annotated", "ClassVar", "Final", "Required", "NotRequired", "ReadOnly")
    if hasattr(typing, name)
)


def declared(kind: type) -> Declared:
    """Return what a dataclass, a model or a struct declares."""
    found = _MEMO.get(kind)
    if found is None:
        try:
            found = Declared(None, _record(kind, ()))
        except _NotData as error:
            found = Declared((error.path, error.name), 0)
        if len(_MEMO) >= _MOST:
            _MEMO.clear()
        _MEMO[kind] = found
    return found


def model_fields_of(kind: type) -> list[tuple[str, int]]:
    """Return the fields of a model that its declaration leaves open, each with its flags."""
    found = _FIELDS.get(kind)
    if found is None:
        found = []
        for name, annotation in _annotations(kind):
            flags = OPEN
            with contextlib.suppress(_NotData):
                flags = _flags(annotation, (kind,))
            if flags:
                found.append((name, flags))
        if len(_FIELDS) >= _MOST:
            _FIELDS.clear()
        _FIELDS[kind] = found
    return found


def fields_of(kind: type) -> list[str] | None:
    """Return the names of the fields of a dataclass, msgspec struct or attrs class."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    struct = getattr(kind, "__struct_fields__", None)
    if isinstance(struct, tuple):
        return list(struct)
    attrs = kind.__dict__.get("__attrs_attrs__") or getattr(kind, "__attrs_attrs__", None)
    if isinstance(attrs, tuple):
        return [each.name for each in attrs]
    return None


def _record(kind: type, seen: tuple[type, ...]) -> int:
    if kind in seen:
        return 0
    flags = 0
    for name, annotation in _annotations(kind):
        try:
            flags |= _flags(annotation, (*seen, kind))
        except _NotData as error:
            raise error.within(name) from None
    return flags


def _annotations(kind: type) -> Iterator[tuple[str, Any]]:
    model = getattr(kind, "model_fields", None)
    if isinstance(model, dict):
        yield from _model_annotations(kind, model)
        return
    v1 = getattr(kind, "__fields__", None)
    names = list(v1) if isinstance(v1, dict) else fields_of(kind) or []
    hints = _hints(kind)
    for name in names:
        if not name.startswith("_"):
            yield name, hints.get(name, Any)


def _model_annotations(kind: type, fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a model's fields hold, but for those that have a serializer, or are left out."""
    decorators = getattr(kind, "__pydantic_decorators__", None)
    if getattr(decorators, "model_serializers", None):
        return
    own: set[str] = set()
    for serializer in getattr(decorators, "field_serializers", {}).values():
        own.update(serializer.info.fields)
    for name, field in fields.items():
        written = any("Serializer" in type(each).__name__ for each in field.metadata)
        if name not in own and "*" not in own and not written and field.exclude is not True:
            yield name, field.annotation


def _hints(kind: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # names that only a type checker knows, mostly
        hints = {}
        for base in reversed(kind.__mro__):
            for name, text in inspect.get_annotations(base).items():
                hints[name] = _one_hint(base, text)
        return hints


def _one_hint(kind: type, text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return eval(text, vars(sys.modules[kind.__module__]), dict(vars(kind)))
    except Exception:
        return collections.abc.Callable if "Callable" in text else Any


def _flags(annotation: Any, seen: tuple[type, ...]) -> int:
    """What a field of this type may hold.

    Raises:
        _NotData: something that is not data.
    """
    if annotation in (Any, object, inspect.Parameter.empty) or annotation is None:
        return OPEN if annotation is not None else 0
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return _class_flags(annotation, seen)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return 0
    if origin in _WRAPPERS:
        return _flags(args[0], seen) if args else OPEN
    if origin in (typing.Union, types.UnionType):
        return _all(args, seen)
    if origin is type or origin is collections.abc.Callable:
        raise _NotData("a function" if origin is not type else "a class")
    if isinstance(origin, type):
        if issubclass(origin, (collections.abc.Collection, collections.abc.Iterable)):
            if issubclass(origin, _ONE_USE):
                raise _NotData(origin.__name__)
            return _all(args, seen)
        return _class_flags(origin, seen) | _all(args, seen)
    supertype = getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)
    return _flags(supertype, seen) if supertype is not None else OPEN


def _all(annotations: tuple[Any, ...], seen: tuple[type, ...]) -> int:
    flags = 0
    for each in annotations:
        if each is not Ellipsis:
            flags |= _flags(each, seen)
    return flags


def _class_flags(kind: type, seen: tuple[type, ...]) -> int:
    if issubclass(kind, float):
        return FLOAT
    if issubclass(kind, _DATA):
        return 0
    if issubclass(kind, (bytes, bytearray, memoryview)):
        return BYTES
    if typing.is_typeddict(kind):
        return _all(tuple(_hints(kind).values()), seen)
    if framework_reducer(kind) is not None:
        return OPEN
    if fields_of(kind) is not None or hasattr(kind, "model_fields") or hasattr(kind, "parse_obj"):
        return _record(kind, seen)
    if kind in (type, collections.abc.Callable) or issubclass(kind, _ONE_USE):
        raise _NotData(kind.__name__)
    if _is_judged_by_value(kind):
        return OPEN
    if hasattr(kind, "__get_pydantic_core_schema__"):
        return 0
    raise _NotData(kind.__name__)


def _is_judged_by_value(kind: type) -> bool:
    if issubclass(kind, collections.abc.Collection) or getattr(kind, "_is_protocol", False):
        return True
    if kind.__module__.partition(".")[0] == "numpy" or callable(getattr(kind, "to_json", None)):
        return True
    return inspect.isabstract(kind) or any(map(_has_fields, kind.__subclasses__()))


def _has_fields(kind: type) -> bool:
    return fields_of(kind) is not None or hasattr(kind, "model_fields")
