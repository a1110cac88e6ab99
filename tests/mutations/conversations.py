"""What keeps the promises of conversations, taken away piece by piece."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

LOG = "tests/contract/test_conversation_log.py"
TURNS = "tests/contract/test_conversation_turns.py"
QUEUE = "tests/conversations/test_queue.py"
INPUTS = "tests/conversations/test_inputs.py"
LUA = "relays/redis/lua"

CONVERSATIONS = (
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
)  # fmt: skip
