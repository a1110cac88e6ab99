-- Keep the lease of a silent producer, and learn whether a stop was asked.
-- KEYS 1 state  2 log
-- ARGV 1 attempt  2 nonce  3 lease ms  4 ttl ms
-- Answers: ok (number: seq of the last chunk)  fenced  closed (reason)  unknown (claim again)
local m = redis.call('HMGET', KEYS[1], 'a', 'n', 'q', 'e', 's')
local current = tonumber(m[1])
local stop = m[5] and 1 or 0
if not current or current < tonumber(ARGV[1]) then return {'unknown', 0, 0, ''} end
if current > tonumber(ARGV[1]) or m[2] ~= ARGV[2] then return {'fenced', current, 0, ''} end
if m[4] then return {'closed', tonumber(m[3]), stop, m[4]} end
redis.call('HSET', KEYS[1], 'x', clock() + ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {'ok', tonumber(m[3]), stop, ''}
