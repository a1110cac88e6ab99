-- Announce a stream before its producer runs, so that readers and stop() find it.
-- KEYS 1 state  2... where the index has it (a cluster elsewhere)
-- ARGV 1 owner (task id)  2 ttl ms  3 kind of chunks  4 ms in which a producer is awaited
--      5 name of its conversation ('': none)  6 the task that is told of its end ('': none)
--      7 name of the task  8 labels (JSON or '')  9 ms that it is kept after its end (0: ttl)
-- Answers: ok (new, or the same owner's)  exists (another owner's)
-- What was deleted of another task makes way.
local state = KEYS[1]
local m = redis.call('HMGET', state, 'a', 'o', 'e', 'D', 'fk')
if m[1] then
  if m[2] == ARGV[1] and m[2] ~= '' then
    if m[1] == '0' and not m[3] then
      -- Its message is sent only now.
      redis.call('HSET', state, 'x', clock() + ARGV[4])
      redis.call('PEXPIRE', state, ARGV[4] + ARGV[2])
    end
    return {'ok', 0, 0, ''}
  end
  local gone = m[4] and tonumber(m[5] or 0) <= 0
  if not gone then return {'exists', 0, 0, m[3] or ''} end
  redis.call('DEL', state)
end
local now = clock()
redis.call('HSET', state, 'a', 0, 'n', '', 'q', 0, 'b', 0, 'o', ARGV[1], 'k', ARGV[3],
  'c', now, 'x', now + ARGV[4])
if ARGV[5] ~= '' then redis.call('HSET', state, 'C', ARGV[5]) end
if ARGV[6] ~= '' then redis.call('HSET', state, 'on', ARGV[6]) end
about(state, ARGV[7], ARGV[8], ARGV[9])
enter(2, now)
-- Longer than a producer is awaited, so that readers are told that none came.
redis.call('PEXPIRE', state, ARGV[4] + ARGV[2])
return {'ok', 1, 0, ''}
