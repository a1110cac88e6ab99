-- Announce a stream before its producer runs, so that readers and stop() find it.
-- KEYS 1 state
-- ARGV 1 owner (task id)  2 ttl ms  3 kind of chunks  4 ms in which a producer is awaited
-- Answers: ok (new, or the same owner's)  exists (another owner's)
local state = KEYS[1]
local owner = redis.call('HGET', state, 'o')
if owner then
  if owner == ARGV[1] and owner ~= '' then return {'ok', 0, 0, ''} end
  return {'exists', 0, 0, redis.call('HGET', state, 'e') or ''}
end
if redis.call('EXISTS', state) == 1 then
  return {'exists', 0, 0, redis.call('HGET', state, 'e') or ''}
end
local now = clock()
redis.call('HSET', state, 'a', 0, 'n', '', 'q', 0, 'b', 0, 'o', ARGV[1], 'k', ARGV[3],
  'c', now, 'x', now + ARGV[4])
-- Longer than a producer is awaited, so that readers are told that none came.
redis.call('PEXPIRE', state, ARGV[4] + ARGV[2])
return {'ok', 1, 0, ''}
