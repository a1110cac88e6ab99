"""What `docs/readers.md` shows is what these tests run."""

from __future__ import annotations

import ast
import inspect
import re

from tests.conftest import ROOT
from tests.peers.app import data_of

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/readers.md").read_text(), re.DOTALL)


def test_the_examples_are_python() -> None:
    assert len(BLOCKS) == 6
    for block in BLOCKS:
        ast.parse(block)


def test_the_encoder_is_the_one_that_is_tested() -> None:
    assert any(inspect.getsource(data_of) in block for block in BLOCKS)
