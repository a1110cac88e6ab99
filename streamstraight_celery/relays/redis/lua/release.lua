-- Give the stream up without ending it: the task will be retried, and may claim at once. Or it is
-- suspended, and only the message that an input or the deadline sends may claim.
-- KEYS 1 state  2 log  3 the index's active streams (a cluster has them elsewhere)
-- ARGV 1 attempt  2 nonce  3 ms in which the next attempt is awaited  4 ttl ms  5 publish command
--      6 channel  7 '1': suspended
-- The first release counts: the worker's parent process (`conclude`) may know better.
-- Answers: ok (reason: 'stopped' when a stop was asked, and so the stream has ended now)  fenced
--   closed (reason)  unknown
local m = redis.call('HMGET', KEYS[1], 'a', 'n', 'e', 's', 'q', 'r')
local current = tonumber(m[1])
local stop = m[4] and 1 or 0
if not current or current < tonumber(ARGV[1]) then return {'unknown', 0, 0, ''} end
if current > tonumber(ARGV[1]) or m[2] ~= ARGV[2] then return {'fenced', current, 0, ''} end
if m[3] then return {'closed', 0, stop, m[3]} end
local now = clock()
if m[4] then
  close({
    attempt = current, nonce = m[2], seq = m[5], now = now, ttl = ARGV[4],
    publish = ARGV[5], channel = ARGV[6],
  }, 'stopped', '')
  return {'ok', current, 1, 'stopped', unheard}
end
if m[6] then return {'ok', current, stop, ''} end
redis.call('HSET', KEYS[1], 'r', 1, 'x', now + ARGV[3])
local life = ARGV[3] + ARGV[4]
if ARGV[7] == '1' then
  redis.call('HSET', KEYS[1], 'sw', 1)
  -- The message is awaited for so long after the deadline, and then readers are told.
  life = life + ARGV[4]
end
redis.call('PEXPIRE', KEYS[1], life)
redis.call('PEXPIRE', KEYS[2], life)
return {'ok', current, stop, ''}
