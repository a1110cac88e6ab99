"""What keeps the promises in Celery's workers, taken away piece by piece."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

ENDS = "tests/tasks/ends/test_ends.py"
ATTEMPTS = "tests/tasks/ends/test_attempts.py"
BOUNDS = "tests/tasks/ends/test_bounds.py -m faults"
WAYS = "tests/tasks/ends/test_stop_ways.py"
REDELIVERY = "tests/tasks/test_task_redelivery.py"
STOP = "tests/tasks/test_task_stop.py"
SENDING = "tests/tasks/test_task_sending.py"
ENDING = "tests/tasks/test_task_ending.py"
ALONE = "tests/unit/test_writer_alone.py"
REQUEST_QUEUE = "tests/unit/test_request_queue.py"

# One broker is enough: Redis.
KILLED = f"{ENDS} -k killed_process_ends_its_stream[redis-killable-9]"
GIVEN_BACK = f"{ENDS} -k given_back_begins_anew_at_once[redis-9]"
WAITING = f"{STOP} -k 'test_a_generator_that_waits_is_closed and"

WORKER_SIDE = (
    Mutation(
        "what a chunk that is sent again knew", "producing/outbox.py",
        "bisect_right(self.received, (chunk, inf))", "len(self.received)",
        ("tests/unit/test_writer_checkpoints.py -k knew",),
    ),
    # -- chunks that the producer's thread sends
    Mutation(
        "a producer that waits for no slow store", "producing/sender.py",
        "        if now < self._slow_until or now - outbox.alone_at < outbox.alone_took:\n",
        "        if False:\n", (f"{ALONE} -k 'faster or far_away'",),
    ),
    Mutation(
        "a lone chunk after others of its stream", "producing/outbox.py",
        "if self.has_more or self._failing_since is not None:",
        "if self._failing_since is not None:", (ALONE,),
    ),
    Mutation(
        "leaving a store that is away to the thread", "producing/sender.py",
        "                self._away = True\n                self._unanswered(requests, error)\n"
        "            finally:",
        "                self._unanswered(requests, error)\n            finally:", (ALONE,),
    ),
    Mutation(
        "not waiting for another producer's round trip", "producing/sender.py",
        "self._away or self._turn.locked() or", "self._away or", (ALONE,),
    ),
    # -- another delivery
    Mutation(
        "coming back to a stream that is held", "worker/attempt.py",
        "_come_back(self, runtime, args, kwargs, busy.retry_after)", "raise",
        (f"{REDELIVERY} -k comes_twice",),
    ),
    Mutation(
        "telling the relay that a delivery comes back", "worker/attempt.py",
        "runtime.sender.patiently(lambda: runtime.relay.call(expect))", "pass",
        (f"{REDELIVERY} -k takes_over_when",),
    ),
    Mutation(
        "waiting for the news of a holder", "worker/attempt.py",
        "HAND_OVER_TIMEOUT if before else 0", "0", (f"{REDELIVERY} -k given_back",),
    ),
    Mutation(
        "releasing the stream for a retry", "worker/attempt.py",
        "_quietly(writer, functools.partial(writer.release, wait))", "pass",
        (f"{ATTEMPTS} -k autoretry",),
    ),
    Mutation(
        "on_redelivery='fail'", "worker/attempt.py",
        "    if fails:\n", "    if False:\n", (f"{ATTEMPTS} -k must_not_run_twice_fails",),
    ),
    Mutation(
        "telling a retry from a lost process", "worker/attempt.py",
        "page.state.attempt > expected", "page.state.attempt >= expected",
        (f"{ATTEMPTS} -k must_not_run_twice_may_be_retried",),
    ),
    Mutation(
        "continuing the log", "worker/attempt.py",
        'resume=fails or task.on_redelivery == "resume"', "resume=False",
        (f"{ATTEMPTS} -k resumed",),
    ),
    Mutation(
        "recalling the checkpoint", "worker/attempt.py",
        "request.stream_saved = _recall(runtime, task.stream_id)", "pass",
        (f"{ATTEMPTS} -k resumed",),
    ),
    Mutation(
        "a stop before the generator begins", "worker/attempt.py",
        "        if reason not in GOOD_ENDS:\n", "        if True:\n",
        (f"{STOP} -k countdown_is_stopped",),
    ),
    # -- what only the parent process sees
    Mutation(
        "the parent's nonce in the message", "worker/request.py",
        "STREAM_NONCE: self._stream_nonce,", 'STREAM_NONCE: "",', (KILLED,),
    ),
    Mutation(
        "the end of a killed process' stream", "worker/request.py",
        "self._conclude(*_meaning(error))", "pass", (KILLED,),
    ),
    Mutation(
        "the end at the hard time limit", "worker/request.py",
        'self._conclude("producer-error", TIME_LIMIT)', "pass",
        (f"{ENDS} -k stream_of_a_greenlet",),
    ),
    Mutation(
        "the end of a revoked or expired task", "worker/request.py",
        '_conclude(*(("expired", EXPIRED) if expired else ("stopped", "")))', "_ttl",
        (f"{ENDS} -k before_it_is_due",),
    ),
    Mutation(
        "the end at a cold shutdown", "worker/request.py",
        'self._conclude("producer-disconnected", LOST)', "pass",
        (f"{ENDS} -k cold_shutdown_ends_the_stream_of_a_greenlet",),
    ),
    Mutation(
        "handing on at a cold shutdown", "worker/request.py",
        "            if delivered_again:", "            if False:",
        (f"{ENDS} -k hands_a_stream_on",),
    ),
    Mutation(
        "handing on what is given back", "worker/request.py",
        "if given_back:", "if False:", (GIVEN_BACK,),
    ),
    Mutation(
        "handing on what is retried for a lost process", "worker/request.py",
        "        if retried:", "        if False:", (f"{ENDS} -k retried_when_its_process",),
    ),
    Mutation(
        "a stop for revoke(terminate=True) in the threads pool", "worker/request.py",
        "asked = runtime.request_queue.ask(Stop(stream_id_of(self)))", "return",
        (f"{STOP} -k terminate_stops",),
    ),
    Mutation(
        "telling the relay again", "producing/request_queue.py",
        "if time.monotonic() + delay > deadline:", "if True:", (REQUEST_QUEUE,),
    ),
    Mutation(
        "telling the relay before the worker is gone", "producing/request_queue.py",
        "        self.flush()", "        pass", (REQUEST_QUEUE,),
    ),
    # -- stop
    Mutation(
        "interrupting a read", "producing/driver.py",
        "elif self._waiting and self.interrupted:", "elif False:",
        (f"{WAITING} prefork'",),
    ),
    Mutation(
        "interrupting again", "producing/driver.py",
        "signal.pthread_kill(main, INTERRUPT)", "signal.pthread_kill(main, INTERRUPT); break",
        (f"{STOP} -k signal_is_lost",),
    ),
    Mutation(
        "cancelling an async generator", "producing/driver.py",
        "            self._cancel()\n        elif self._green is not",
        "            pass\n        elif self._green is not",
        (f"{WAITING} prefork'",),
    ),
    Mutation(
        "interrupting a greenlet", "producing/driver.py",
        "self._green.soon(self._throw)", "pass",
        (f"{WAITING} gevent'",),
    ),
    Mutation(
        "leaving a generator behind", "producing/driver.py",
        "self._leave(self._left)", "pass", (f"{STOP} -k left_behind",),
    ),
    # -- sending
    Mutation(
        "raising in whoever sends", "producing/sending.py",
        "            raise StreamStopped\n", "            pass\n",
        (f"{SENDING} -k 'thread_that_sends and prefork'",),
    ),
    Mutation(
        "interrupting helpers that read", "producing/sending.py",
        "threads.hang_up(self.thread, StreamStopped)", "pass",
        (f"{SENDING} -k 'whoever_sends and in_thread and prefork'",),
    ),
    Mutation(
        "failing with a chunk that cannot be sent", "producing/sending.py",
        "driver.refuse(error)", "pass", (f"{SENDING} -k cannot_be_sent",),
    ),
    Mutation(
        "waiting for last chunks in the threads pool", "producing/driver.py",
        "if not self.sends or self._wants_limit:", "if True:",
        (f"{ENDING} -k 'of_a_stop and threads'",),
    ),
    Mutation(
        "few last chunks", "producing/sending.py",
        "if self._last_chunks > MOST_LAST_CHUNKS:", "if False:", (f"{ENDING} -k are_few",),
    ),
    Mutation(
        "no retry after the first chunk", "tasks/task.py",
        "if self.retries_no_more:", "if False:",
        ("tests/tasks/test_task_retries.py -k final_once",),
    ),
    Mutation(
        "the remote control command", "worker/remote_control.py",
        "ask(Stop(stream_id))", 'ask(Stop(stream_id + "?"))', (f"{WAYS} -k listening-control",),
    ),
    Mutation(
        "waking the process that waits", "worker/remote_control.py",
        "_wake(request, runtime, state.consumer.pool)", "pass",
        (f"{BOUNDS} -k silent_model[prefork-sync]",),
    ),
    Mutation(
        "asking often where no message comes", "producing/sender.py",
        "QUICK_RENEW_INTERVAL if self._untold else RENEW_INTERVAL", "RENEW_INTERVAL",
        (f"{BOUNDS} -k silent_model[solo-sync]",),
    ),
    Mutation(
        "a checkpoint behind its chunks", "relays/redis/lua/checkpoint.lua",
        "if tonumber(ARGV[4]) > seq then", "if false then", ("tests/contract/test_attempts.py",),
    ),
)  # fmt: skip
