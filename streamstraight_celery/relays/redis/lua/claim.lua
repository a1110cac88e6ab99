-- Become the stream's one producer: begin the next attempt.
-- KEYS 1 state  2 log  3... where the index has it (a cluster elsewhere)
-- ARGV 1 nonce  2 lease ms  3 ttl ms  4 attempt to re-create (0: the next one)  5 owner  6 kind
--      7 publish command  8 '1' to continue the log of the attempt before ('': start over)
--      9 '1' to overwrite: take over from a living producer, or restart an ended stream
--      10 channel  11 '1' to restart one that ended as `producer-disconnected`, if the owner is the same
--      12 the task that is told of its end, if none is named yet ('': none)
--      13 name of the task  14 labels (JSON or '')  15 ms that it is kept after its end (0: ttl)
--      16 name of the worker  17 queue that the task came from (both may be '')
--      18 the suspended attempt that this one follows (0: none)
-- Answers: ok (number: the attempt; reason: seq of the last chunk)  busy (number: ms until the
--   lease ends)  closed (reason)  fenced (a newer attempt exists, or others write it over HTTP)
--   waits (number: the attempt that is suspended, which another message ends)
-- Idempotent: the same nonce gets the same answer. `attempt to re-create` is for a producer whose
-- attempt Redis has lost (restart without persistence, failover): it was granted once, so it may
-- take the place of an older attempt that came back from the dead, lease or not.
local state, log = KEYS[1], KEYS[2]
local nonce, lease, ttl, want = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local now = clock()
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'x', 'e', 'r', 's', 'h', 'w', 'o', 'D', 'fk', 'tn',
  'Z', 'sw')
if m[11] and m[10] ~= ARGV[5] and tonumber(m[12] or 0) <= 0 then
  -- Only the name is left of it: another task's, that was deleted.
  redis.call('DEL', state)
  m = {}
end
if m[11] and m[5] then return {'closed', 0, m[7] and 1 or 0, m[5]} end
local attempt, seq = tonumber(m[1]), tonumber(m[3])
local unlisted = not m[13]
if m[5] and ARGV[9] == '1' and not m[9] then
  redis.call('HDEL', state, 'e', 'er', 'z', 's')
  m[5], m[7], m[15], unlisted = false, false, false, true
end
if m[5] == 'producer-disconnected' and ARGV[11] == '1' and m[10] == ARGV[5] then
  -- Not the stop: one that was asked for holds for every attempt.
  redis.call('HDEL', state, 'e', 'er', 'z')
  redis.call('HSET', state, 'r', 1)
  m[5], m[6], m[15], unlisted = false, '1', false, true
end
local stop = m[7] and 1 or 0
if m[5] then return {'closed', 0, stop, m[5]} end
if m[9] then return {'fenced', attempt, stop, ''} end
if attempt and attempt > 0 and m[2] == nonce then
  redis.call('HSET', state, 'x', now + lease)
  redis.call('HDEL', state, 'r')
  return {'ok', attempt, stop, tostring(seq)}
end
local lineage = ''
if want > 0 then
  if attempt and attempt >= want then return {'fenced', attempt, stop, ''} end
  attempt, seq = want, 0
elseif not attempt then
  attempt, seq = 1, 0
else
  if attempt > 0 and not m[6] and tonumber(m[4]) > now and ARGV[9] ~= '1' then
    return {'busy', tonumber(m[4]) - now, stop, ''}
  end
  if m[15] and tonumber(ARGV[18]) ~= attempt and ARGV[9] ~= '1' then
    return {'waits', attempt, stop, ''}
  end
  -- What is sealed cannot be written any more.
  if ARGV[8] == '1' and attempt > 0 and m[14] ~= m[1] then
    lineage = (m[8] or '') .. attempt .. ':' .. m[2] .. ':' .. seq .. ';'
  else
    seq = 0
  end
  attempt = attempt + 1
end
if seq == 0 then
  redis.call('DEL', log)
  redis.call('HSET', state, 'b', 0)
  redis.call('HDEL', state, 'f', 'Z')
  if lineage == '' then redis.call('HDEL', state, 'ip') end
end
redis.call('HSETNX', state, 'c', now)
redis.call('HSETNX', state, 'o', ARGV[5])
redis.call('HDEL', state, 'r', 'sw')
if ARGV[12] ~= '' then redis.call('HSETNX', state, 'on', ARGV[12]) end
redis.call('HSET', state, 'a', attempt, 'n', nonce, 'q', seq, 'x', now + lease, 'k', ARGV[6],
  'h', lineage)
if ARGV[16] ~= '' then redis.call('HSET', state, 'wk', ARGV[16], 'qu', ARGV[17]) end
if unlisted then
  -- It was not announced, or by an earlier version, or it had ended.
  about(state, ARGV[13], ARGV[14], ARGV[15])
  enter(3, redis.call('HGET', state, 'c'))
end
redis.call('PEXPIRE', state, ttl)
local at = {attempt = attempt, nonce = nonce, publish = ARGV[7], channel = ARGV[10]}
tell(at, seq + 1, seq, '', '')
return {'ok', attempt, stop, tostring(seq), unheard}
