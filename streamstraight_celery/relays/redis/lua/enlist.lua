-- List a stream whose end is to be told to the application. Whether it has ended and was told only
-- its own state says, which may be on another node of a cluster: whoever sweeps the list looks there.
-- KEYS 1 the list: streams by their mark, the time (ms) from which they are looked at
-- ARGV 1 stream  2 ms in which nobody else looks at it  3 mark that it has to have ('': any)
--      4 ms for which the list is kept
-- Answers: ok (number: its mark)  fenced (it has another mark, or is not there)
local now = clock()
if ARGV[3] ~= '' and tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) ~= tonumber(ARGV[3]) then
  return {'fenced', 0, 0, ''}
end
-- Where nobody sweeps, the list must not grow forever.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[4])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[4] + ARGV[2])
return {'ok', now + ARGV[2], 0, ''}
