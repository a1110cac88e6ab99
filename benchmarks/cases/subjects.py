"""The subjects that several cases compare."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.ours import AT_ONCE, PREFORK, Ours
from benchmarks.peers.bare_redis import BareRedis
from benchmarks.peers.publish_recipe import PublishRecipe
from benchmarks.peers.streamstraight_sdk import StreamstraightSdk
from benchmarks.session import Subject

# 300,000 events are just below the default stream_max_bytes of 64 MiB.
OURS = Subject("ours", Ours, flat_chunks=300_000)
OURS_AT_ONCE = replace(OURS, name="ours, no linger", lane=AT_ONCE)
OURS_PREFORK = replace(OURS, name="ours, prefork", lane=PREFORK)
PUBLISH = Subject("PUBLISH recipe", PublishRecipe, flat_chunks=20_000)
XADD = Subject("XADD", BareRedis, flat_chunks=15_000)
XADD_16 = replace(XADD, name="XADD, 16 a pipeline", batch=16, flat_chunks=100_000)
XADD_512 = replace(XADD, name="XADD, 512 a pipeline", batch=512, flat_chunks=150_000)
SDK = Subject("streamstraight SDK", StreamstraightSdk, flat_chunks=8_000)
