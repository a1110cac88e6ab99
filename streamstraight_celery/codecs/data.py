"""What is data, and what data becomes: one rule for a chunk and for everything nested in it.

Data is JSON values, the usual types of the standard library and numpy, and dataclasses and models
that are declared as data all the way down. Anything else is an error that names the path to it.
Nothing here reads an object's `__dict__`: agents, clients and tools must not reach a reader.
"""

from __future__ import annotations

import array
import base64
import collections
import collections.abc
import datetime
import decimal
import enum
import inspect
import ipaddress
import json
import math
import pathlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import EncodeError
from .declared import BYTES, FLOAT, OPEN, declared, fields_of, model_fields_of
from .frameworks import codec_hint, framework_reducer

Reducer = Callable[[Any], Any]
Parts = Callable[[Any], Iterable[tuple[str, Any]]]


class NotDataError(EncodeError):
    """A value has no JSON form."""


class NotFiniteError(EncodeError):
    """A NaN or an Infinity, for which JSON has no form."""


def plain(value: Any, *, nan: str = "error", path: str = "chunk") -> Any:
    """Turn data into JSON values: `dict`, `list`, `str`, `int`, `float`, `bool`, None.

    Args:
        value: the data.
        nan: `null` sends NaN and Infinity as null.
        path: what error messages call the value.

    Raises:
        EncodeError: something in it is not data; the message names the path to it.
    """
    return _Plain(nan).reduce(value, path, "")


class _Plain:
    """One walk through a value."""

    def __init__(self, nan: str) -> None:
        self._nan = nan
        self._open: set[int] = set()

    def reduce(self, value: Any, path: str, hint: str) -> Any:
        kind = type(value)
        if kind in (str, int, bool, type(None)):
            return value
        if isinstance(value, float):
            return self._number(value, path)
        if isinstance(value, (str, int)) and not isinstance(value, enum.Enum):
            return value
        if id(value) in self._open:
            raise EncodeError(f"{_shown(path)}: {kind.__name__} contains itself")
        self._open.add(id(value))
        try:
            return self._container(value, kind, path, hint or codec_hint(kind))
        except RecursionError:
            raise EncodeError(f"{_shown(path)}: nested too deeply") from None
        finally:
            self._open.discard(id(value))

    def _number(self, value: float, path: str) -> float | None:
        if math.isfinite(value):
            return value
        if self._nan == "null":
            return None
        raise NotFiniteError(
            f"{path}: {value} is not JSON compliant; yield None instead, "
            "or set stream_nan = 'null', which sends null"
        )

    def _container(self, value: Any, kind: type, path: str, hint: str) -> Any:
        if isinstance(value, (list, tuple)):
            return [self.reduce(each, f"{path}[{n}]", hint) for n, each in enumerate(value)]
        if isinstance(value, dict):
            return self._mapping(value, path, hint)
        try:
            found = step_of(kind)
            self._look_inside(value, kind, found.parts, path, hint)
            if found.problem:
                field, name = found.problem
                raise NotDataError(f"{kind.__name__} is not data (its {field} may hold {name})")
            reduced = found.reduce(value)
        except NotDataError as error:
            advice = f'or use codec="{hint}"' if hint else "or give encoder="
            raise EncodeError(
                f"{_shown(path)}: {error}; yield what the page needs, {advice}"
            ) from None
        return self.reduce(reduced, path, hint)

    def _look_inside(
        self, value: Any, kind: type, parts: Parts | None, path: str, hint: str
    ) -> None:
        """Check the fields one by one: a model's own dump would not say where it fails."""
        for name, content in parts(value) if parts else ():
            self.reduce(content, _joined(path, name), hint)

    def _mapping(self, value: dict[Any, Any], path: str, hint: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, each in value.items():
            name = self._key(key, path)
            if name in found:
                raise EncodeError(f"{path}: two keys become {name[:40]!r}")
            found[name] = self.reduce(each, _joined(path, name), hint)
        return found

    def _key(self, key: Any, path: str) -> str:
        if isinstance(key, enum.Enum):
            key = key.value
        if isinstance(key, str):
            return str.__str__(key)
        if key is None or isinstance(key, (bool, int, float)):
            return json.dumps(self.reduce(key, path, ""))
        with_key = _reduced_key(key)
        if isinstance(with_key, str):
            return with_key
        if isinstance(with_key, (int, float)):
            return json.dumps(self.reduce(with_key, path, ""))
        raise EncodeError(f"{path}: a key of type {type(key).__name__} is not data; use a str")


def _reduced_key(key: Any) -> Any:
    usual = isinstance(key, (*_AS_TEXT, datetime.date, datetime.time, datetime.timedelta))
    return step(key) if usual or _is_numpy(type(key)) else None


def _joined(path: str, name: str) -> str:
    if not name or name.startswith("["):
        return f"{path}{name}"
    head = name.partition(".")[0].partition("[")[0]
    return f"{path}.{name}" if head.isidentifier() else f"{path}[{name[:40]!r}]"


def _shown(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:100]}...{path[-100:]}"


# -- one step, for one type


class Step(NamedTuple):
    """How a value of one type gets one step closer to JSON.

    Attributes:
        reduce: the step.
        parts: what to check first: named values that `reduce` would not check, or would not name.
        problem: the path to a field that may hold something that is not data, and what.
    """

    reduce: Reducer
    parts: Parts | None = None
    problem: tuple[str, str] | None = None


def step_of(kind: type) -> Step:
    """Return the step for a type.

    Raises:
        NotDataError: the type is not data.
    """
    found = _STEPS.get(kind)
    if found is None:
        if len(_STEPS) >= MOST_KINDS:
            _STEPS.clear()
        found = _STEPS[kind] = _choose(kind)
    return found


def step(value: Any) -> Any:
    """As the `default=` of a JSON encoder: one step for a value that JSON does not know."""
    reduce, parts, problem = step_of(type(value))
    if problem:
        raise NotDataError(f"{type(value).__name__} is not data")
    if parts:
        for name, content in parts(value):
            plain(content, path=_joined("chunk", name))
    return reduce(value)


# Only a memo, emptied when full: there are applications that make a class for each request.
_STEPS: dict[type, Step] = {}
MOST_KINDS = 1000

_AS_TEXT: tuple[type, ...] = (
    uuid.UUID, decimal.Decimal, pathlib.PurePath, ipaddress.IPv4Address, ipaddress.IPv6Address,
    ipaddress.IPv4Network, ipaddress.IPv6Network, ipaddress.IPv4Interface, ipaddress.IPv6Interface,
)  # fmt: skip
_AS_LISTS: tuple[type, ...] = (
    set, frozenset, collections.deque, range, array.array, collections.abc.KeysView,
    collections.abc.ValuesView, collections.UserList, list, tuple,
)  # fmt: skip


def _choose(kind: type) -> Step:
    if framework := framework_reducer(kind):
        return Step(_of_framework(framework))
    if _is_sdk_model(kind):
        return Step(lambda value: json.loads(value.to_json(indent=None, warnings=False)))
    if _is_own(kind) and not issubclass(kind, enum.Enum):
        return _record_step(kind)
    return Step(_choose_plain(kind))


def _of_framework(project: Reducer) -> Reducer:
    def reduce(value: Any) -> Any:
        try:
            return project(value)
        except ValueError as error:
            raise NotDataError(f"{type(value).__name__} is not data ({error})") from None

    return reduce


def _choose_plain(kind: type) -> Reducer:
    if issubclass(kind, enum.Enum):
        return lambda value: value.value
    if issubclass(kind, _AS_TEXT):
        return str
    if issubclass(kind, (datetime.date, datetime.time)):
        return lambda value: value.isoformat()
    if issubclass(kind, datetime.timedelta):
        return _duration
    if issubclass(kind, (bytes, bytearray, memoryview)):
        return bytes_as_json
    if _is_numpy(kind):
        return lambda value: value.tolist()
    if issubclass(kind, _AS_LISTS):
        return list
    if issubclass(kind, Mapping):
        return dict
    if writes_itself(kind):
        return lambda value: json.loads(_own_json(value))
    raise NotDataError(f"{kind.__name__} is not data")


def _is_own(kind: type) -> bool:
    """Whether a class declares its fields: a dataclass, a model, a struct, an attrs class."""
    return fields_of(kind) is not None or _is_model(kind)


def _is_model(kind: type) -> bool:
    return callable(getattr(kind, "model_dump", None)) or _is_v1_model(kind)


def _is_v1_model(kind: type) -> bool:
    """Whether it is a model of pydantic 1, or of `pydantic.v1`."""
    return isinstance(getattr(kind, "__fields__", None), dict) and hasattr(kind, "parse_obj")


def _is_sdk_model(kind: type) -> bool:
    """Whether it is an object of the SDKs made by Stainless: OpenAI, Anthropic, Groq and others.

    They are parsed from a provider's JSON, and `to_json(indent=None, warnings=False)` writes that
    JSON again, which `model_dump_json()` does not always do.
    """
    if not (hasattr(kind, "model_dump") and callable(to_json := getattr(kind, "to_json", None))):
        return False
    try:
        return {"indent", "warnings"} <= set(inspect.signature(to_json).parameters)
    except (TypeError, ValueError):
        return False


def _is_numpy(kind: type) -> bool:
    root = kind.__module__.partition(".")[0]
    return root == "numpy" and hasattr(kind, "tolist") and hasattr(kind, "dtype")


def bytes_as_json(value: bytes | bytearray | memoryview) -> dict[str, str]:
    """Binary data inside a chunk: `{"type": "bytes", "base64": ...}`."""
    return {"type": "bytes", "base64": base64.b64encode(value).decode()}


def _duration(value: datetime.timedelta) -> str:
    """ISO 8601, as pydantic writes it: `P1DT1.5S`, `-PT1M30S`."""
    sign, value = ("-", -value) if value < datetime.timedelta(0) else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06d}".rstrip("0").rstrip(".")
    time = f"{hours}H" * bool(hours) + f"{minutes}M" * bool(minutes)
    if seconds or fraction or not (time or value.days):
        time += f"{seconds}{fraction}S"
    return f"{sign}P" + f"{value.days}D" * bool(value.days) + f"T{time}" * bool(time)


# -- dataclasses, models, structs


def _record_step(kind: type) -> Step:
    found = declared(kind)
    names: list[str]
    if hasattr(kind, "model_dump"):
        reduce, names = _model_reducer(kind), list(getattr(kind, "model_fields", {}))
    elif _is_v1_model(kind):
        fields: dict[str, Any] = getattr(kind, "__fields__", {})
        names = [name for name, field in fields.items() if not field.field_info.exclude]
        reduce = _fields_as_dict(names)
    else:
        names = [name for name in fields_of(kind) or () if not name.startswith("_")]
        reduce = _fields_as_dict(names)
    if writes_itself(kind):
        return Step(_writing_itself(reduce), _values_of(names), found.problem)
    return Step(reduce, _values_of(names) if found.problem else None, found.problem)


def _fields_as_dict(names: list[str]) -> Reducer:
    return lambda value: {name: getattr(value, name) for name in names}


def _values_of(names: list[str]) -> Parts:
    return lambda value: [(name, getattr(value, name, None)) for name in names]


def _writing_itself(reduce: Reducer) -> Reducer:
    """Use the class's own `to_json()`, once it is known that the object is data."""

    def reduce_by_itself(value: Any) -> Any:
        text = value.to_json()
        return json.loads(text) if isinstance(text, str) else reduce(value)

    return reduce_by_itself


def _model_reducer(kind: type) -> Reducer:
    loose_values = _loose_values(kind)

    def reduce(value: Any) -> Any:
        loose = loose_values(value)
        if not loose:
            return value.model_dump(mode="json")
        return {**value.model_dump(mode="json", exclude=set(loose)), **loose}

    return reduce


def model_text(kind: type) -> Callable[[Any], str | None] | None:
    """Return an encoder of models of this class by pydantic alone, or None.

    That encoder returns None for a model with values that pydantic would not write by our rule.
    """
    is_model = hasattr(kind, "model_dump_json") and framework_reducer(kind) is None
    if not is_model or writes_itself(kind) or declared(kind).problem:
        return None
    loose_values = _loose_values(kind)
    return lambda chunk: None if loose_values(chunk) else str(chunk.model_dump_json())


def _loose_values(kind: type) -> Callable[[Any], dict[str, Any]]:
    """Return a function that finds the values that a model's declaration leaves open.

    pydantic would write the insides of any dataclass there, NaN as null, and bytes as text.
    """
    config = getattr(kind, "model_config", None) or {}
    own = OPEN
    if config.get("ser_json_inf_nan") not in ("null", "strings"):
        own |= FLOAT
    if "ser_json_bytes" not in config:
        own |= BYTES
    names = [name for name, flags in model_fields_of(kind) if flags & own]

    def loose_values(value: Any) -> dict[str, Any]:
        found = {}
        for name in names:
            content = getattr(value, name, None)
            if type(content) not in _SIMPLE and not _is_finite(content):
                found[name] = content
        if extra := getattr(value, "__pydantic_extra__", None):
            found.update(extra)
        return found

    return loose_values


_SIMPLE = frozenset({type(None), str, int, bool})


def _is_finite(content: Any) -> bool:
    return type(content) is float and math.isfinite(content)


# -- objects that write themselves


def _own_json(value: Any) -> str:
    text = value.to_json()
    if not isinstance(text, str):
        name = type(value).__name__
        raise NotDataError(f"{name} is not data ({name}.to_json() returned {type(text).__name__})")
    json.loads(text)
    return text


def writes_itself(kind: type) -> bool:
    return callable(getattr(kind, "to_json", None))


def own_json(kind: type) -> Callable[[Any], str] | None:
    """Return an encoder for objects whose own `to_json()` gives JSON text, or None."""
    if framework_reducer(kind) is not None or _is_own(kind) or issubclass(kind, (dict, list)):
        return None
    return _own_json if writes_itself(kind) else None


def sdk_json(kind: type) -> Callable[[Any], str] | None:
    """Return an encoder that writes an SDK's object as it was on the wire, or None."""
    if framework_reducer(kind) is None and _is_sdk_model(kind):
        return lambda chunk: str(chunk.to_json(indent=None, warnings=False))
    return None
