"""numpy's scalars and arrays are data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamstraight_celery.codecs import get_codec, wire_encoder
from streamstraight_celery.errors import EncodeError
from tests.frameworks.sources import need

pytestmark = pytest.mark.slow
encode = wire_encoder(get_codec("json"))


def test_scalars_arrays_and_keys() -> None:
    np: Any = need("numpy")
    chunk = {
        np.int64(3): np.float32(1.5), "b": np.bool_(True), "a": np.arange(4).reshape(2, 2),
        "d": np.datetime64("2026-01-02"), "e": np.zeros(0),
    }  # fmt: skip
    sent = {"3": 1.5, "b": True, "a": [[0, 1], [2, 3]], "d": "2026-01-02", "e": []}
    assert json.loads(encode(chunk)) == sent
    assert encode(np.int64(7)) == "7"
    assert encode(np.array([1.5])) == "[1.5]"


def test_nan_in_an_array_is_an_error_or_null() -> None:
    np: Any = need("numpy")
    chunk = {"scores": np.array([1.0, np.nan])}
    with pytest.raises(EncodeError, match=r"chunk\.scores\[1\]: nan is not JSON compliant"):
        encode(chunk)
    assert wire_encoder(get_codec("json"), "null")(chunk) == '{"scores":[1.0,null]}'
    with pytest.raises(EncodeError, match="nan is not JSON compliant"):
        encode(np.float64("nan"))
