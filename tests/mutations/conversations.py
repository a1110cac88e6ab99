"""What keeps the promises of conversations, taken away piece by piece."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

LOG = "tests/contract/test_conversation_log.py"
TURNS = "tests/contract/test_conversation_turns.py"
QUEUE = "tests/conversations/test_queue.py"
INPUTS = "tests/conversations/test_inputs.py"
SUSPENDING = "tests/contract/test_suspending.py"
SUSPENDED = "tests/conversations/test_suspending.py"
PRESENCE = "tests/contract/test_presence.py"
WATCHED = "tests/conversations/test_presence.py"
TREE = "tests/conversations/test_tree.py"
LUA = "relays/redis/lua"

CONVERSATIONS = (
    Mutation(
        "conversation: the time to begin of one that has its turn", "conversations/turns.py",
        "state.owner, state.kind, wait, ", "state.owner, state.kind, ",
        (f"{QUEUE} -k as_its_message_says",),
    ),
    Mutation(
        "conversation: no stream that was deleted meanwhile", "conversations/turns.py",
        'return answer.kind == "ok" and not answer.is_new', 'return answer.kind == "ok"',
        (f"{QUEUE} -k deleted_meanwhile",),
    ),
    Mutation(
        "conversation: a task that waits while the store is away", "tasks/task_conversation.py",
        "        return self._runtime.sender.patiently(ask)", "        return ask()",
        ("tests/conversations/test_outage.py",),
    ),
    Mutation(
        "conversation: adding an event once", f"{LUA}/conversation.lua",
        "  if before then return 'duplicate', tonumber(before) end\n", "",
        (f"{LOG} -k 'added_once and redis'",),
    ),
    Mutation(
        "conversation: refusing others' writes", f"{LUA}/write.lua",
        "if not m[6] or m[14] then", "if not m[6] then",
        (f"{LOG} -k 'neither_write and redis'",),
    ),
    Mutation(
        "conversation: the queue before others", f"{LUA}/hold.lua",
        "  if current ~= stream and (redis.call('HGET', state, 'Q') or ' ') ~= ' ' then\n",
        "  if false then\n", (f"{TURNS} -k 'passes_the_queue and redis'",),
    ),
    Mutation(
        "conversation: one answer to a question", "relays/memory/conversations.py",
        "    if by != request.event_id:\n", "    if False:\n",
        (f"{LOG} -k 'settles and memory'",),
    ),
    Mutation(
        "conversation: how far a task has received", "producing/writer.py",
        "                outbox.received.append((self.continues + self.chunks, self.received))\n",
        "                pass\n", (f"{INPUTS} -k 'retried and memory'",),
    ),
    Mutation(
        "conversation: a child that receives for itself", "tasks/task_conversation.py",
        "        if not self._is_child:\n", "        if True:\n",
        (f"{INPUTS} -k 'takes_no_message and memory'",),
    ),
    Mutation(
        "conversation: its token for its own streams only", "server/conversations.py",
        "            if name and conversation_id(name) == grant.stream_id:\n",
        "            if True:\n", ("tests/conversations/test_http.py -k 'opens_its and memory'",),
    ),
    Mutation(
        "conversation: telling of an end that was not told", "worker/conversation.py",
        "    Runtime.of(task.app).tell_conversation(task.stream_id, patient=patient)\n", "",
        (f"{SUSPENDED} -k 'too_late and memory'",),
    ),
    Mutation(
        "suspending: events that were not looked at", f"{LUA}/await.lua",
        "if at.seq > tonumber(ARGV[9]) then", "if false then",
        (f"{SUSPENDING} -k 'not_seen and redis'",),
    ),
    Mutation(
        "suspending: no message for a task that goes on", f"{LUA}/await.lua",
        "  if kept and string.match", "  if false and string.match",
        (f"{SUSPENDING} -k 'goes_on_is and redis'",),
    ),
    Mutation(
        "suspending: a message for one caller", f"{LUA}/wake.lua",
        "    local free = tonumber(held) <= now and", "    local free = true and",
        (f"{SUSPENDING} -k 'message_once and redis'",),
    ),
    Mutation(
        "suspending: only its own message begins an attempt", f"{LUA}/claim.lua",
        "  if m[15] and tonumber(ARGV[18]) ~= attempt", "  if false and true",
        (f"{SUSPENDING} -k 'may_claim and redis'",),
    ),
    Mutation(
        "suspending: a lost process after it", f"{LUA}/conclude.lua",
        "if m[10] and reason ~= 'stopped'", "if false",
        (f"{SUSPENDING} -k 'may_claim and redis'",),
    ),
    Mutation(
        "suspending: time for the message at the deadline", f"{LUA}/reap.lua",
        "(suspended and math.max(ARGV[1], ARGV[2]) or ARGV[1])", "ARGV[1]",
        (f"{SUSPENDING} -k 'decides_about and redis'",),
    ),
    Mutation(
        "suspending: the deadline stands", f"{LUA}/await.lua",
        "  if what == ARGV[11] then deadline = each end\n", "",
        (f"{SUSPENDING} -k 'decides_about and redis'",),
    ),
    Mutation(
        "suspending: a sweep for what nobody has sent", "ends/sweeping.py",
        "sum([wake(name) for name in suspended])", "0",
        (f"{SUSPENDED} -k 'found_by_the_sweep and memory'",),
    ),
    Mutation(
        "suspending: a stop sends its message", "relays/memory/conversations.py",
        "wanted or name == request.ends", "wanted",
        (f"{SUSPENDED} -k 'stop_ends and memory'",),
    ),
    Mutation(
        "suspending: a wait's own deadline", "tasks/inputs.py",
        "{self._place.seq} {self._sent} {timeout}", "{self._place.seq}",
        (f"{SUSPENDED} -k 'own_deadline and memory'",),
    ),
    Mutation(
        "conversation: a late answer that does not fit", "tasks/task_conversation.py",
        "return self._wait(wanted, 0)", "return self._wait(wanted, None)",
        (f"{INPUTS} -k 'last_moment and memory'",),
    ),
    Mutation(
        "conversation: a tree is stopped at any depth", "enqueue/family.py",
        'event.get("parent") in found', 'event.get("parent") == stream_id',
        (f"{TREE} -k 'outlives and memory'",),
    ),
    Mutation(
        "conversation: a tree is looked at again", "enqueue/family.py",
        "        for name in left:\n", "        conversation = \"\"\n        for name in left:\n",
        (f"{TREE} -k 'one_that_begins and memory'",),
    ),
    Mutation(
        "conversation: a tree is looked at until its tasks have ended", "enqueue/family.py",
        "        if not left and (late or not running):\n", "        if not left:\n",
        (f"{TREE} -k 'until_its_parent and memory'",),
    ),
    Mutation(
        "presence: a server that is gone (Redis)", f"{LUA}/watch.lua",
        "  if tonumber(ends) > now then", "  if true then",
        (f"{PRESENCE} -k 'gone and redis'",),
    ),
    Mutation(
        "presence: a server that is gone (memory)", "relays/memory/presence.py",
        "if each[0] and each[1] > now", "if each[0]", (f"{PRESENCE} -k 'gone and memory'",),
    ),
    Mutation(
        "presence: the key is where its stream is", "relays/redis/scripts.py",
        'key_prefix}{{{stream_id}}}:w"', 'key_prefix}{stream_id}:w"',
        (f"{PRESENCE} -k 'add_up and cluster'",),
    ),
    Mutation(
        "presence: told again before it expires", "server/live/presence.py",
        "before != count or (count > 0 and now - at >= AGAIN)", "before != count",
        ("tests/server/test_presence.py -k expires",),
    ),
    Mutation(
        "presence: told by relay servers", "server/live/hub.py",
        "            self._spawn(self._repeat(self.tell_presence))\n", "",
        (f"{WATCHED} -k 'all_servers and memory'",),
    ),
    Mutation(
        "presence: nobody knows while the store is away", "worker/unwatched.py",
        "readers is None or readers > 0", "readers", (f"{WATCHED} -k how_long",),
    ),
    Mutation(
        "presence: a relay that does not tell who reads", "worker/unwatched.py",
        'answer.number if answer.kind == "ok" else None', "answer.number",
        (f"{WATCHED} -k refuses_to_tell",),
    ),
)  # fmt: skip
