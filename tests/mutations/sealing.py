"""What keeps a stream whole while it is sealed, taken away piece by piece."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

CONTRACT = "tests/contract/test_sealing.py"
MODEL = "tests/contract/test_model.py -k scripts"
SERVER = "tests/server/test_sealing.py"
SEAL = "relays/redis/lua/seal.lua"

SEALING = (
    Mutation(
        "sealing only the attempt that has ended", SEAL,
        "m[1] ~= ARGV[1] or m[2] ~= ARGV[2] or m[3] ~= ARGV[3] or not m[4]", "not m[4]",
        (CONTRACT, MODEL),
    ),
    Mutation("sealing only all of it", SEAL, "or m[3] ~= ARGV[3]", "", (CONTRACT, MODEL)),
    Mutation("sealing only what has ended", SEAL, "or not m[4]", "", (CONTRACT, MODEL)),
    Mutation("not sealing what was deleted", SEAL, "or m[5] then", "then", (CONTRACT,)),
    Mutation(
        "counting the parts", SEAL, "if count ~= ARGV[4] + #ARGV - 6 then", "if false then",
        (CONTRACT,),
    ),
    Mutation(
        "the end of parts that nobody completes", SEAL,
        "  redis.call('PEXPIRE', parts, ARGV[6])\n", "", (CONTRACT,),
    ),
    Mutation(
        "the end of a sealed log", SEAL,
        "if left >= 0 then redis.call('PEXPIRE', log, left) end", "redis.call('PERSIST', log)",
        (CONTRACT,),
    ),
    Mutation(
        "telling the form of the log", SEAL, "redis.call('HSET', state, 'Z', m[1])", "",
        (CONTRACT, SERVER),
    ),
    Mutation(
        "the mark's attempt", "relays/redis/lua/read.lua",
        "if state[30] and state[30] == state[1] then", "if state[30] then", (CONTRACT,),
    ),
    Mutation(
        "a bound for what one script reads", "relays/redis/lua/read.lua",
        "if #rows == most or bytes >= enough then break end", "", (CONTRACT,),
    ),
    Mutation(
        "the number of the first block", "relays/redis/lua/read.lua",
        "    if tonumber(last) > seq then\n      local block",
        "    if tonumber(last) >= seq then\n      local block", (CONTRACT,),
    ),
    Mutation(
        "starting over what is sealed", "relays/redis/lua/claim.lua",
        " and m[14] ~= m[1] then", " then", (CONTRACT,),
    ),
    Mutation(
        "leaving a lost producer's stream to its next attempt", "relays/sealing.py",
        'return bool(end) and end != "producer-disconnected"', "return bool(end)",
        (CONTRACT, SERVER),
    ),
    Mutation(
        "leaving a log that continues another", "producing/outbox.py",
        "if not self._base and can_be_sealed(request.end):",
        "if can_be_sealed(request.end):", (SERVER,),
    ),
    Mutation(
        "sealing by the producer", "producing/sender.py",
        "                    self._sealer.seal(outbox)\n", "                    pass\n", (SERVER,),
    ),
    Mutation(
        "sealing by who reads", "server/live/hub.py",
        "        if is_to_be_sealed(page.state):\n", "        if False:\n", (SERVER,),
    ),
    Mutation(
        "stopping at the first part that is not taken", "producing/sealer.py",
        '            if answer.kind != "ok":\n                return\n', "", (SERVER,),
    ),
)  # fmt: skip
