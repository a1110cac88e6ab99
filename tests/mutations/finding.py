"""What keeps listing, deleting and reading from the end right."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

INDEX = "tests/contract/test_index.py"
DELETING = "tests/contract/test_deleting.py"
FROM_END = "tests/clients/test_from_end.py"

FINDING = (
    Mutation(
        "leaving the active streams at the end", "relays/redis/lua/log.lua",
        "if KEYS[3] then redis.pcall('ZREM'", "if false then redis.pcall('ZREM'",
        (f"{INDEX} -k ends_a_stream",),
    ),
    Mutation(
        "a cluster's changes of the index", "relays/cluster/relay.py",
        "if following := changes(requests, found, PLACES):", "if following := []:",
        (f"{INDEX} -k cluster",),
    ),
    Mutation(
        "doubting the index", "relays/index.py",
        "if page is None or not query.belongs(page.state, term):", "if page is None:",
        (f"{INDEX} -k neither_believed",),
    ),
    Mutation(
        "removing entries of streams that are gone", "relays/index.py",
        "if answer.kind == \"unknown\"", "if answer.kind == \"never\"",
        (f"{INDEX} -k stale",),
    ),
    Mutation(
        "looking for streams without an entry", "relays/index.py",
        "missing = [name for answer in answers for name in answer.names]",
        "missing: list[str] = []",
        (f"{INDEX} -k without_an_entry",),
    ),
    Mutation(
        "the name that is left of a deleted stream", "relays/redis/lua/delete.lua",
        "if forks or (ARGV[3] == '1' and m[9] and m[9] ~= '') then", "if forks then",
        (f"{DELETING} -k not_begun_again",),
    ),
    Mutation(
        "waiting for a stream that is not there", "reader/log/session.py",
        "if self._may_still_come() or", "if", (f"{FROM_END} -k waited_for",),
    ),
    Mutation(
        "the first event of a read from the end", "server/reads/handlers.py",
        "greets=call.asked == NOW or isinstance(call.asked, int),", "greets=call.asked == NOW,",
        (f"{FROM_END} -k when_more_come",),
    ),
)  # fmt: skip
