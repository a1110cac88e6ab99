"""What keeps the promise that each end is told, taken away piece by piece."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

TOLD = "tests/tasks/ends/test_on_end.py"
KILLED = "tests/tasks/ends/test_on_end_killed.py -m 'slow and not faults'"
CONTRACT = "tests/contract/test_ends.py"
PLACES = "tests/ends/test_places.py"
SWEEP = "tests/ends/test_sweep.py"

ENDS = (
    Mutation(
        "telling in the producer", "worker/attempt.py",
        "    if _on_end(task, runtime):\n", "    if False:\n",
        (f"{TOLD} -k test_completed",),
    ),
    Mutation(
        "telling in the worker's parent process", "worker/request.py",
        'if answer.kind in ("ended", "closed") and told:', "if False:",
        (f"{TOLD} -k test_killed",),
    ),
    Mutation(
        "telling what a dead process has ended and not told", "worker/request.py",
        'if answer.kind in ("ended", "closed") and', 'if answer.kind == "ended" and',
        (f"{KILLED} -k test_the_producer",),
    ),
    Mutation(
        "telling what is ended outside of a worker", "runtime.py",
        "            tell_application(self.app, self.relay, stream_id)", "            pass",
        (f"{TOLD} -k stopped_in_the_queue",),
    ),
    Mutation(
        "telling of a lost producer whoever meets it", "enqueue/ending.py",
        'if answer.kind in ("ended", "waits"):', "if False:", (f"{PLACES} -k at_its_state",),
    ),
    Mutation(
        "telling of one that the turn has met", "conversations/turns.py",
        "tell_application(app, relay, stream_id, connection=connection)", "pass",
        (f"{PLACES} -k look_at_its_conversation",),
    ),
    Mutation(
        "telling an end before its name is used again", "enqueue/announcing.py",
        'if tell_application(app, runtime.relay, request.stream_id) == "failed":', "if False:",
        (f"{PLACES} -k cannot_be_told",),
    ),
    Mutation(
        "listing a stream that takes another's name", "enqueue/announcing.py",
        "runtime.relay.call(Enlist(request.stream_id))  # what", "pass  # what",
        (f"{PLACES} -k used_again",),
    ),
    Mutation(
        "telling before the worker is gone", "worker/request.py",
        "        runtime.request_queue.flush()  # which ends streams\n"
        "        runtime.flush_ends()\n",
        "        pass\n", (f"{TOLD} -k cold_shutdown",),
    ),
    Mutation(
        "enqueueing before the note", "ends/telling.py",
        "        send(app, stream_id, page.state, connection)\n",
        "        _note(relay, stream_id, page.state.attempt, page.state.ended, mark.mark)\n"
        "        send(app, stream_id, page.state, connection)\n",
        (f"{SWEEP} -k broker",),
    ),
    Mutation(
        "the note", "ends/telling.py",
        "[NoteTold(stream_id, attempt, ended), Delist(stream_id, mark)]",
        "[Delist(stream_id, mark)]", (f"{TOLD} -k test_completed", SWEEP),
    ),
    Mutation(
        "listing a stream before it is announced", "enqueue/announcing.py",
        "runtime.relay.call(Enlist(request.stream_id))\n    answer", "pass\n    answer",
        (SWEEP,),
    ),
    Mutation(
        "listing a stream again that the store has lost", "producing/outbox.py",
        "self._relist = bool(self._claim.on_end)", "self._relist = False",
        ("tests/unit/test_writer_ends.py",),
    ),
    Mutation(
        "looking at what is listed", "ends/sweeping.py",
        "    for name in LISTS:\n", "    for name in ():\n", (SWEEP,),
    ),
    Mutation(
        "ending lost producers in the sweep", "ends/sweeping.py",
        "        if state.lease_left >= 0 or not _end(relay, stream_id, swept):\n",
        "        if True:\n", (SWEEP,),
    ),
    Mutation(
        "lost producers of which nobody is told", "ends/sweeping.py",
        "if stream_id not in seen:", "if False:", (SWEEP,),
    ),
    Mutation(
        "patience with a stream that is about to be announced", "ends/sweeping.py",
        "elif now - mark > SETTLE:", "elif True:", (f"{SWEEP} -k announced",),
    ),
    Mutation(
        "leaving an end to the one that tells it", "ends/telling.py",
        "Enlist(stream_id, True, seen)", "Enlist(stream_id)", (f"{SWEEP} -k two_sweeps",),
    ),
    Mutation(
        "removing only what was not listed again", "relays/redis/lua/delist.lua",
        "if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then",
        "if false then", (CONTRACT,),
    ),
    Mutation(
        "a note that names the end that it is of", "relays/redis/lua/note_told.lua",
        "if not m[2] or m[1] ~= ARGV[1] or m[3] ~= ARGV[2] then return {'fenced', 0, 0, ''} end",
        "", (CONTRACT,),
    ),
)  # fmt: skip
