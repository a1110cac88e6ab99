-- Keep what a producer wants its next attempt to know; renews the lease.
-- KEYS 1 state
-- ARGV 1 attempt  2 nonce  3 value (JSON)  4 seq of the last chunk that it covers  5 lease ms
--      6 as 13 of append.lua
-- Answers: ok (number: seq of the last chunk)  gap (number: the seq expected next: chunks that it
--   covers are not here)  fenced  closed (reason)  unknown (claim again)
local m = redis.call('HMGET', KEYS[1], 'a', 'n', 'q', 'e', 's')
local current, seq = tonumber(m[1]), tonumber(m[3])
local stop = m[5] and 1 or 0
if not current or current < tonumber(ARGV[1]) then return {'unknown', 0, 0, ''} end
if current > tonumber(ARGV[1]) or m[2] ~= ARGV[2] then return {'fenced', current, 0, ''} end
if m[4] then return {'closed', seq, stop, m[4]} end
if tonumber(ARGV[4]) > seq then return {'gap', seq + 1, stop, ''} end
redis.call('HSET', KEYS[1], 'cv', ARGV[3], 'cq', ARGV[4], 'ca', current, 'x', clock() + ARGV[5])
if ARGV[6] ~= '0' then redis.call('HSET', KEYS[1], 'ip', ARGV[6]) end
return {'ok', seq, stop, ''}
