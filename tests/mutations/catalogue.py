"""What keeps each promise, taken away piece by piece; and the tests that must notice."""

from __future__ import annotations

from tests.mutations.conversations import CONVERSATIONS
from tests.mutations.ends import ENDS
from tests.mutations.finding import FINDING
from tests.mutations.mutation import Mutation
from tests.mutations.sealing import SEALING
from tests.mutations.security import SECURITY
from tests.mutations.worker_side import WORKER_SIDE

CONTRACT = "tests/contract/test_relay.py"
CONTRACT_REDIS = "tests/contract/test_redis.py"
MODEL = "tests/contract/test_model.py"
WRITER = "tests/unit/test_writer.py"
OFFSETS = "tests/unit/test_offsets.py"
CLUSTER = "tests/contract/test_cluster.py"
POSITION = "tests/server/test_position.py"
FEED = "tests/server/test_feed.py"
RACES = "tests/server/test_races.py"
WINDOW = "tests/server/test_window.py"
SERVER_FAULTS = "tests/server/test_faults.py"
TROUBLE = "tests/server/test_trouble.py"
MATRIX = "tests/faults/test_matrix.py"
PRODUCERS = "tests/faults/test_producers.py"


MUTATIONS = (
    *CONVERSATIONS,
    *SECURITY,
    *FINDING,
    *SEALING,
    # -- one producer
    Mutation(
        "fencing", "relays/redis/lua/append.lua",
        "if current > attempt or m[2] ~= nonce then return {'fenced', current, 0, ''} end", "",
        (CONTRACT, MODEL, f"{PRODUCERS} -k frozen"),
    ),
    Mutation(
        "the nonce check of append", "relays/redis/lua/append.lua",
        "if current > attempt or m[2] ~= nonce then", "if current > attempt then",
        (CONTRACT, MODEL),
    ),
    Mutation(
        "the nonce check of renew", "relays/redis/lua/renew.lua",
        "or m[2] ~= ARGV[2]", "", (CONTRACT, MODEL),
    ),
    Mutation(
        "the lease of a living holder", "relays/redis/lua/claim.lua",
        "if attempt > 0 and not m[6] and tonumber(m[4]) > now and ARGV[9] ~= '1' then",
        "if false then",
        (CONTRACT, MODEL, f"{PRODUCERS} -k twice"),
    ),
    Mutation(
        "renewing leases", "producing/sender.py",
        "requests += self._renewals(ready, before)", "pass", (WRITER,),
    ),
    Mutation(
        "telling who waits for a sender that was closed", "producing/sender.py",
        "        for outbox in left:\n", "        for outbox in ():\n",
        (f"{WRITER} -k closed",),
    ),
    Mutation(
        "the refusal to re-create a superseded attempt", "relays/redis/lua/claim.lua",
        "if attempt and attempt >= want then", "if false then", (CONTRACT, MODEL),
    ),
    # -- nothing doubled
    Mutation(
        "dropping the chunks of an overlap that are here", "relays/redis/lua/append.lua",
        "for _ = first, seq do", "for _ = 1, 0 do", (CONTRACT, MODEL),
    ),
    Mutation(
        "the same answer to the same claim", "relays/redis/lua/claim.lua",
        "if attempt and attempt > 0 and m[2] == nonce then", "if false then", (CONTRACT, MODEL),
    ),
    Mutation(
        "dropping what a reader's window has", "server/live/window.py",
        "if entry.last <= self.last:", "if False:", (WINDOW, FEED),
    ),
    # -- nothing missing
    Mutation(
        "the gap check of append", "relays/redis/lua/append.lua",
        "if first > seq + 1 then return {'gap', seq + 1, stop, ''} end", "", (CONTRACT, MODEL),
    ),
    Mutation(
        "the gap check of an end", "relays/redis/lua/append.lua",
        "if first > seq + 1 then", "if first > seq + 1 and finish == '' then", (CONTRACT, MODEL),
    ),
    Mutation(
        "the gap check of a window", "server/live/window.py",
        "if entry.first > self.last + 1:", "if False:", (WINDOW, FEED),
    ),
    Mutation(
        "looking after streams without news", "server/live/hub.py",
        "for feed in quiet:", "for feed in []:", (SERVER_FAULTS,),
    ),
    Mutation(
        "reading after a reconnect", "server/live/hub.py",
        "if not feed.over:\n                self._want(feed)", "pass", (RACES,),
    ),
    Mutation(
        "sending again what a gap asks for", "producing/outbox.py",
        "                self._rewind(answer.expected_seq)\n", "                pass\n", (WRITER,),
    ),
    Mutation(
        "sending again what a renewal misses", "producing/outbox.py",
        "self._rewind(answer.last_seq + 1)", "pass", (WRITER,),
    ),
    Mutation(
        "re-creating what Redis has lost", "producing/outbox.py",
        "self._lost = True", "self._lost = False",
        (WRITER,),
    ),
    Mutation(
        "noticing that the log was evicted", "relays/redis/lua/log.lua",
        "'NOMKSTREAM', ", "", (CONTRACT_REDIS,),
    ),
    # -- ends
    Mutation(
        "the end in one step with the last chunks", "producing/outbox.py",
        "if self._next < len(self._entries) - 1 or self.pending:", "if False:", (WRITER,),
    ),
    Mutation(
        "nothing behind the end", "relays/redis/lua/append.lua",
        "return {'closed', seq, stop, m[4]}", "m[4] = false", (CONTRACT, MODEL),
    ),
    Mutation(
        "reaping", "server/live/hub.py",
        "if lost and settled:", "if False:", (SERVER_FAULTS, f"{PRODUCERS} -k killed"),
    ),
    Mutation(
        "a lease for those who live before reaping", "server/live/hub.py",
        "if lost and settled:", "if lost:", (TROUBLE,),
    ),
    Mutation(
        "waiting for streams that Redis may just have lost", "server/reads/handlers.py",
        "if now() >= until or self._draining:", "if True:", (TROUBLE,),
    ),
    Mutation(
        "an end asking for an evicted log", "relays/redis/lua/append.lua",
        "if finish ~= '' and seq > 0 and redis.call('EXISTS', KEYS[2]) == 0 then", "if false then",
        (CONTRACT_REDIS,),
    ),
    Mutation(
        "the grace time before reaping", "relays/redis/lua/reap.lua",
        "math.max(ARGV[1], ARGV[2]) or ARGV[1])", "math.max(ARGV[1], ARGV[2]) or 0)", (MODEL,),
    ),
    Mutation(
        "a notice before reaping", "relays/redis/lua/reap.lua",
        "due = math.max(due, noted + ARGV[7])", "", (CONTRACT, MODEL, f"{MATRIX} -k restart_late"),
    ),
    Mutation(
        "a notice of each lease anew", "relays/redis/lua/reap.lua",
        "if noted < lease then", "if noted == 0 then", (CONTRACT, MODEL),
    ),
    Mutation(
        "an end for streams that Redis lost", "server/live/feed.py",
        "if self.lost_since is not None and now > self.lost_since + self._patience:", "if False:",
        (SERVER_FAULTS, FEED),
    ),
    # -- readers' places
    Mutation(
        "the nonce in offsets", "offsets.py",
        "if segment.nonce != offset.nonce:", "if False:", (OFFSETS, SERVER_FAULTS),
    ),
    Mutation(
        "the nonce in notices", "server/live/feed.py",
        "if notice.attempt != self.attempt or notice.nonce != self.nonce:",
        "if notice.attempt != self.attempt:", (FEED, RACES),
    ),
    Mutation(
        "waiting for what Redis lost", "server/live/feed.py",
        "return state.nonce == self.nonce and state.last < asked.seq", "return False",
        (FEED, SERVER_FAULTS),
    ),
    Mutation(
        "keeping an older attempt from those who know of a newer", "server/live/position.py",
        "early = asked.attempt > segments[-1].attempt and not ended", "early = False",
        (POSITION, SERVER_FAULTS),
    ),
    Mutation(
        "the slots of a cluster, read anew", "relays/cluster/relay.py",
        "self._send(requests, moved, answers)", "pass", (CLUSTER,),
    ),
    Mutation(
        "following streams whose slot is being moved", "relays/cluster/relay.py",
        "groups.setdefault((answer.host, answer.port), []).append(index)", "pass", (CLUSTER,),
    ),
    Mutation(
        "reading streams of a cluster without those that cannot be read", "server/live/hub.py",
        "self.relay.read_each(reads)", "self.relay.read(reads)",
        (f"{SERVER_FAULTS} -k holds_up_no_other",),
    ),
    Mutation(
        "a notice's channel not being a key", "relays/redis/scripts.py",
        "return (SCRIPTS[type(request)].sha, len(keys), *keys, *args)",
        "return (SCRIPTS[type(request)].sha, len(keys) + 1, *keys, self.channel('s'), *args)",
        (CLUSTER,),
    ),
    # -- connections and keys
    Mutation(
        "giving up an interrupted connection", "relays/redis/relay.py",
        "connection.disconnect()\n            self._redis.connection_pool.release(connection)\n"
        "            if checked",
        "self._redis.connection_pool.release(connection)\n            if checked",
        (CONTRACT_REDIS,),
    ),
    Mutation(
        "loading scripts that Redis forgot", "relays/redis/relay.py",
        "if missing:", "if False:", (CONTRACT_REDIS, f"{MATRIX} -k script_flush"),
    ),
    Mutation(
        "the time to live of a claimed stream", "relays/redis/lua/claim.lua",
        "redis.call('PEXPIRE', state, ttl)", "redis.call('PERSIST', state)",
        (CONTRACT_REDIS, MODEL),
    ),
    Mutation(
        "the time to live of a log", "relays/redis/lua/log.lua",
        "keep(state, log, at.ttl)", "redis.call('PEXPIRE', state, at.ttl)", (CONTRACT_REDIS, MODEL),
    ),
    *WORKER_SIDE,
    *ENDS,
)  # fmt: skip
