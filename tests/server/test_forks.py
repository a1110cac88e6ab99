"""Forks, without a server: headers and a source's log in, the request that creates the fork out."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest

from streamstraight_celery.offsets import Segment
from streamstraight_celery.relays.base import StreamState
from streamstraight_celery.relays.requests import Entry, Open
from streamstraight_celery.server.content import BYTES, JSON, pieces_of
from streamstraight_celery.server.http import Refused, Request
from streamstraight_celery.server.writes.forks import ForkCall, fork_of, parse_fork, seq_of

from .test_feed import STATE

SOURCE: StreamState = replace(
    STATE, attempt=2, nonce="bbbbbbbb", last=5, lineage=(Segment(1, "aaaaaaaa", 2),), end="",
    kind="json", content_type=JSON, http_written=True, ttl=None, expires_at=None,
)  # fmt: skip
LOG = (Entry(1, 2, b"1\n2"), Entry(3, 5, b"3\n4\n5"))


def at(seq: int, attempt: int = 2, nonce: str = "bbbbbbbb") -> str:
    return f"{attempt:06d}_{seq:010d}_{nonce}"


def parsed(**headers: str) -> ForkCall | None:
    named = {f"stream-{name.replace('_', '-')}": value for name, value in headers.items()}
    return parse_fork(Request("PUT", "/v1/stream/fork", "", named))


def forked(
    call: ForkCall, state: StreamState = SOURCE, log: tuple[Entry, ...] = LOG, **changes: Any
) -> Open:
    given: dict[str, Any] = {
        "stream_id": "fork", "config": "c", "nonce": "cccccccc", "kind": "json",
        "content_type": JSON,
    }  # fmt: skip
    return fork_of(Open(**{**given, **changes}), call, state, log)


def inherited(opening: Open) -> list[str]:
    return [line for entry in opening.inherited for line in entry.data.decode().split("\n")]


def status_of(call: Any, *args: Any, **options: Any) -> int:
    with pytest.raises(Refused) as refused:
        call(*args, **options)
    return refused.value.status


class TestHeaders:
    def test_no_fork(self) -> None:
        assert parsed() is None

    @pytest.mark.parametrize(
        "path", ["/v1/stream/s", "https://relay.example/v1/stream/s", "/streams/v1/stream/s"]
    )
    def test_the_source(self, path: str) -> None:
        assert parsed(forked_from=path) == ForkCall("s")
        call = parsed(forked_from=path, fork_offset="-1", fork_sub_offset="7")
        assert call == ForkCall("s", "-1", 7)

    @pytest.mark.parametrize("path", ["", "/", "/v1/stream/", "/v1/stream/a/b", "/v1/stream/.."])
    def test_no_source(self, path: str) -> None:
        assert status_of(parsed, forked_from=path) == 404

    @pytest.mark.parametrize(
        "headers",
        [
            {"fork_offset": "-1"},
            {"fork_sub_offset": "0"},
            {"forked_from": "/v1/stream/s", "fork_sub_offset": "1"},
            {"forked_from": "/v1/stream/s", "fork_offset": "-1", "fork_sub_offset": "-1"},
            {"forked_from": "/v1/stream/s", "fork_offset": "-1", "fork_sub_offset": "01"},
            {"forked_from": "/v1/stream/s", "fork_offset": "-1", "fork_sub_offset": str(2**53)},
        ],
    )
    def test_malformed(self, headers: dict[str, str]) -> None:
        assert status_of(parsed, **headers) == 400


class TestPlace:
    @pytest.mark.parametrize(
        ("offset", "seq"),
        [
            ("", 5),
            ("-1", 0),
            (at(0), 0),
            (at(0, 1, "ffffffff"), 0),
            ("0000000000000000_0000000000000000", 0),
            (at(1, 1, "aaaaaaaa"), 1),
            (at(2, 1, "aaaaaaaa"), 2),
            (at(3), 3),
            (at(5), 5),
        ],
    )
    def test_an_offset_of_the_source(self, offset: str, seq: int) -> None:
        assert seq_of(ForkCall("s", offset), SOURCE) == seq

    @pytest.mark.parametrize("end", ["", "completed"])
    @pytest.mark.parametrize(
        "offset",
        [at(6), at(3, 1, "aaaaaaaa"), at(3, 2, "ffffffff"), at(3, 9), at(1, 1, "ffffffff"), "now",
         "nonsense", "-2"],
    )  # fmt: skip
    def test_no_offset_of_the_source(self, offset: str, end: str) -> None:
        assert status_of(seq_of, ForkCall("s", offset), replace(SOURCE, end=end)) == 400


class TestFork:
    @pytest.mark.parametrize(
        ("seq", "lineage"),
        [
            (0, ()),
            (1, (Segment(1, "aaaaaaaa", 1),)),
            (2, (Segment(1, "aaaaaaaa", 2),)),
            (3, (Segment(1, "aaaaaaaa", 2), Segment(2, "bbbbbbbb", 3))),
            (5, (Segment(1, "aaaaaaaa", 2), Segment(2, "bbbbbbbb", 5))),
        ],
    )
    def test_chunks_and_attempts_up_to_there(self, seq: int, lineage: tuple[Segment, ...]) -> None:
        offset = at(seq, 1, "aaaaaaaa") if 0 < seq < 3 else at(seq)
        opening = forked(ForkCall("s", offset))
        assert inherited(opening) == ["1", "2", "3", "4", "5"][:seq]
        assert opening.lineage == lineage
        assert (opening.source, opening.count, opening.data) == ("s", 0, b"")

    def test_its_own_chunks_follow(self) -> None:
        opening = forked(ForkCall("s", at(3)), count=2, data=b"x\ny")
        assert inherited(opening) == ["1", "2", "3"]
        assert (opening.count, opening.data) == (2, b"x\ny")

    @pytest.mark.parametrize(("beyond", "seq"), [(0, 3), (1, 4), (2, 5)])
    def test_messages_beyond_an_offset(self, beyond: int, seq: int) -> None:
        opening = forked(ForkCall("s", at(3), beyond))
        assert opening.lineage[-1] == Segment(2, "bbbbbbbb", seq)
        assert len(inherited(opening)) == seq

    def test_more_than_there_are(self) -> None:
        assert status_of(forked, ForkCall("s", at(3), 3)) == 400

    @pytest.mark.parametrize("beyond", range(8))
    def test_bytes_beyond_an_offset(self, beyond: int) -> None:
        log = tuple(
            Entry(seq, seq, pieces_of(piece)[0])
            for seq, piece in enumerate((b"ab", b"cde", b"f"), 1)
        )
        source = replace(SOURCE, kind="bytes", content_type=BYTES, last=3, attempt=1,
                         nonce="aaaaaaaa", lineage=())  # fmt: skip
        call = ForkCall("s", at(1, 1, "aaaaaaaa"), beyond)
        options = {"kind": "bytes", "content_type": BYTES, "count": 1, "data": pieces_of(b"!")[0]}
        if beyond > 4:
            assert status_of(forked, call, source, log, **options) == 400
            return
        opening = forked(call, source, log, **options)
        whole = [*inherited(opening), *opening.data.decode().split("\n")]
        assert b"".join(b64decode(piece.strip('"')) for piece in whole) == (
            b"abcdef"[: 2 + beyond] + b"!"
        )
        assert opening.count == len(opening.data.split(b"\n"))

    def test_the_content_type_is_the_sources(self) -> None:
        assert status_of(forked, ForkCall("s"), content_type="text/plain") == 409

    def test_it_lives_as_long_as_its_source_unless_it_says(self) -> None:
        source = replace(SOURCE, ttl=5000)
        assert forked(ForkCall("s"), source).ttl == 5000
        assert forked(ForkCall("s"), source, ttl=1000).ttl == 1000
        other = forked(ForkCall("s"), source, expires_at=7)
        assert (other.ttl, other.expires_at) == (None, 7)

    def test_what_is_forked_is_part_of_its_configuration(self) -> None:
        calls = [ForkCall("s"), ForkCall("t"), ForkCall("s", at(3)), ForkCall("s", at(3), 1)]
        assert len({forked(call).config for call in calls} | {"c"}) == 5

    def test_a_workers_stream_can_be_forked(self) -> None:
        source = replace(SOURCE, http_written=False, content_type="", kind="text")
        opening = forked(ForkCall("s", at(3)), source)
        assert (opening.kind, opening.content_type) == ("text", JSON)
