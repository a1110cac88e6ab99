-- Ask the producer to stop. A stream without a living producer ends at once.
-- KEYS 1 state  2 log  3 the index's active streams (a cluster has them elsewhere)
-- ARGV 1 ttl ms  2 publish command  3 channel
-- Answers: asked (the producer will end it)  ended (it is ended now; number: 1 for an
--   HTTP-written stream, whose end no task will report)  closed (reason)  unknown (or deleted, or a conversation)
local state = KEYS[1]
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'x', 'e', 'r', 'w', 'D', 'cn')
local attempt = tonumber(m[1])
if not attempt or m[8] or m[9] then return {'unknown', 0, 0, ''} end
if m[5] then return {'closed', tonumber(m[3]), 1, m[5]} end
local now = clock()
redis.call('HSETNX', state, 's', now)
local leased = attempt > 0 and not m[6] and not m[7] and tonumber(m[4]) > now
if leased then return {'asked', attempt, 1, ''} end
close({
  attempt = attempt, nonce = m[2], seq = tonumber(m[3]), now = now, ttl = ARGV[1],
  publish = ARGV[2], channel = ARGV[3],
}, 'stopped', '')
return {'ended', m[7] and 1 or 0, 1, 'stopped', unheard}
