-- End or release a stream for a producer that cannot any more, or never will: by its task's worker.
-- KEYS 1 state  2 log  3 the index's active streams (a cluster has them elsewhere)
-- ARGV 1 owner (task id)  2 nonce of the delivery that is over  3 end reason ('': release)
--      4 error for readers (JSON or '')  5 ms in which the next attempt is awaited  6 ttl ms
--      7 publish command  8 '1' when the delivery began to run ('': it never will)
--      9 channel  10 the task that is told of its end, if none is named yet ('': none)
-- Answers: ended (reason)  ok (released)  busy (number: ms; another producer holds it)
--   closed (reason)  fenced (another task's)  unknown
-- Only a stream that this delivery held; a queued stream of the same task; and, for a delivery that
-- never started, any stream of the task that has no holder. (One that began may have been superseded, and another
-- delivery may be waiting for its retry.) A stream that was asked to stop ends as stopped;
-- one whose producer is lost while another delivery waits for it (`expect`) is left to that; one
-- that is suspended to the message that ends this.
local state = KEYS[1]
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'x', 'e', 'r', 's', 'o', 'xd', 'sw')
local attempt = tonumber(m[1])
if not attempt then return {'unknown', 0, 0, ''} end
local seq, stop = tonumber(m[3]), m[7] and 1 or 0
if m[5] then return {'closed', seq, stop, m[5]} end
local now = clock()
if attempt == 0 or m[2] ~= ARGV[2] then
  if m[8] ~= ARGV[1] then return {'fenced', attempt, stop, ''} end
  local left = tonumber(m[4]) - now
  if attempt > 0 and (ARGV[8] == '1' or not m[6] and left > 0) then
    return {'busy', left, stop, ''}
  end
end
local reason, error = ARGV[3], ARGV[4]
if m[10] and reason ~= 'stopped' and (m[10] == '1' or m[2] == ARGV[2]) then
  return {'busy', tonumber(m[4]) - now, stop, ''}
end
local wait = tonumber(ARGV[5])
if stop == 1 then
  reason, error = 'stopped', ''
elseif reason == 'producer-disconnected' and tonumber(m[9] or 0) > now then
  reason, wait = '', tonumber(m[9]) - now
end
if reason == '' then
  redis.call('HSET', state, 'r', 1, 'x', now + wait)
  redis.call('PEXPIRE', state, wait + ARGV[6])
  redis.call('PEXPIRE', KEYS[2], wait + ARGV[6])
  return {'ok', attempt, stop, ''}
end
if ARGV[10] ~= '' then redis.call('HSETNX', state, 'on', ARGV[10]) end
close({
  attempt = attempt, nonce = m[2], seq = seq, now = now, ttl = ARGV[6],
  publish = ARGV[7], channel = ARGV[9],
}, reason, error)
return {'ended', seq, stop, reason, unheard}
