-- Ask the producer to stop. A stream without a living producer ends at once.
-- KEYS 1 state  2 log  3 channel
-- ARGV 1 ttl ms  2 publish command
-- Answers: asked (the producer will end it)  ended (it is ended now)  closed (reason)  unknown
local state = KEYS[1]
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'x', 'e', 'r')
local attempt = tonumber(m[1])
if not attempt then return {'unknown', 0, 0, ''} end
if m[5] then return {'closed', tonumber(m[3]), 1, m[5]} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSETNX', state, 's', now)
if attempt > 0 and not m[6] and tonumber(m[4]) > now then return {'asked', attempt, 1, ''} end
redis.call('HSET', state, 'e', 'stopped', 'er', '', 'z', now)
redis.call('PEXPIRE', state, ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
local seq = tonumber(m[3])
redis.call(ARGV[2], KEYS[3],
  attempt .. ' ' .. (m[2] == '' and '-' or m[2]) .. ' ' .. (seq + 1) .. ' ' .. seq .. ' stopped\n')
return {'ended', seq, 1, 'stopped'}
