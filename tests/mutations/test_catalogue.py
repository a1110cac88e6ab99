"""The list of mutations fits the code: `make mutations` runs them."""

from __future__ import annotations

import pytest

from tests.mutations.__main__ import ROOT, occurrences
from tests.mutations.catalogue import MUTATIONS
from tests.mutations.mutation import Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_can_be_made(mutation: Mutation) -> None:
    assert occurrences(mutation) == 1
    assert mutation.old != mutation.new
    assert all((ROOT / tests.split()[0]).exists() for tests in mutation.tests)
