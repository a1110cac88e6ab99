-- End a stream whose producer is lost, or never came: its lease (while it is queued: the time in
-- which a producer is awaited) has been over for longer than the grace time.
-- KEYS 1 state  2 log  3 the index's active streams (a cluster has them elsewhere)
-- ARGV 1 grace ms  2 ttl ms  3 error for readers (JSON)  4 publish command
--      5 error for readers when no producer came (JSON)  6 channel  7 notice ms
-- Answers: ended (reason)  alive (number: ms until it may be reaped)  closed (reason)  unknown
--   waits (as alive: it is suspended, and its deadline is over)
-- The first call after the lease has expired only records that: while Redis was away no lease could
-- be renewed, so a live producer has the notice period from then on to renew it. A record from before
-- the expiry belongs to an earlier lease.
local state = KEYS[1]
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'x', 'e', 'u', 'sw')
local attempt = tonumber(m[1])
if not attempt then return {'unknown', 0, 0, ''} end
if m[5] then return {'closed', tonumber(m[3]), 0, m[5]} end
local now = clock()
local lease, noted = tonumber(m[4]), tonumber(m[6] or 0)
local suspended = m[7] == '1'
-- Somebody has to look that the deadline is over, and send the message.
local due = lease + (suspended and math.max(ARGV[1], ARGV[2]) or ARGV[1])
if lease <= now then
  if noted < lease then
    redis.call('HSET', state, 'u', now)
    noted = now
  end
  due = math.max(due, noted + ARGV[7])
end
if due > now then return {suspended and lease <= now and 'waits' or 'alive', due - now, 0, ''} end
local reason, error = 'producer-disconnected', ARGV[3]
if attempt == 0 then reason, error = 'expired', ARGV[5] end
local seq = tonumber(m[3])
close({
  attempt = attempt, nonce = m[2], seq = seq, now = now, ttl = ARGV[2],
  publish = ARGV[4], channel = ARGV[6],
}, reason, error)
return {'ended', seq, 0, reason, unheard}
