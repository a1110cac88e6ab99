-- The message that begins a suspended stream's next attempt is about to be sent.
-- KEYS 1 state  2 log
-- ARGV 1 attempt that is suspended  2 ms in which the next one is awaited, and time to live after it
-- Answers: ok  closed (reason; number: its attempt)  fenced (number: the attempt that has begun
--   since)  unknown
-- Idempotent: only the first call, of an attempt that is suspended, changes anything.
local m = redis.call('HMGET', KEYS[1], 'a', 'e', 'sw')
local attempt = tonumber(m[1])
if not attempt then return {'unknown', 0, 0, ''} end
if m[2] then return {'closed', attempt, 0, m[2]} end
if attempt ~= tonumber(ARGV[1]) then return {'fenced', attempt, 0, ''} end
if m[3] == '1' then
  redis.call('HSET', KEYS[1], 'sw', 2, 'x', clock() + ARGV[2])
  redis.call('PEXPIRE', KEYS[1], 2 * ARGV[2])
  redis.call('PEXPIRE', KEYS[2], 2 * ARGV[2])
end
return {'ok', attempt, 0, ''}
