-- End a stream whose producer is lost, or never came: its lease (while it is queued: the time in
-- which a producer is awaited) has been over for longer than the grace time.
-- KEYS 1 state  2 log
-- ARGV 1 grace ms  2 ttl ms  3 error for readers (JSON)  4 publish command
--      5 error for readers when no producer came (JSON)  6 channel
-- Answers: ended (reason)  alive (number: ms until it may be reaped)  closed (reason)  unknown
local state = KEYS[1]
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'x', 'e')
local attempt = tonumber(m[1])
if not attempt then return {'unknown', 0, 0, ''} end
if m[5] then return {'closed', tonumber(m[3]), 0, m[5]} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = tonumber(m[4]) + tonumber(ARGV[1]) - now
if left > 0 then return {'alive', left, 0, ''} end
local reason, error = 'producer-disconnected', ARGV[3]
if attempt == 0 then reason, error = 'expired', ARGV[5] end
redis.call('HSET', state, 'e', reason, 'er', error, 'z', now)
redis.call('PEXPIRE', state, ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local seq = tonumber(m[3])
redis.call(ARGV[4], ARGV[6],
  attempt .. ' ' .. (m[2] == '' and '-' or m[2]) .. ' ' .. (seq + 1) .. ' ' .. seq .. ' '
    .. reason .. '\n')
return {'ended', seq, 0, reason}
