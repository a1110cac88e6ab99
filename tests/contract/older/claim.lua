-- Not a script by itself: prepended to the scripts that need the time.

-- Redis' time in ms.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Not a script by itself: prepended to the scripts that write. The only code that appends chunks and
-- ends to a log and notifies readers.

-- Let the keys live on: as the stream itself says (fields l, y; kt once it has ended), else for
-- `ttl` ms.
local function keep(state, log, ttl)
  local own = redis.call('HMGET', state, 'l', 'y', 'kt', 'e')
  if own[3] and (own[4] or tonumber(own[3]) > tonumber(ttl)) then ttl = own[3] end
  for _, key in ipairs({state, log}) do
    if own[2] then
      redis.call('PEXPIREAT', key, own[2])
    else
      redis.call('PEXPIRE', key, own[1] or ttl)
    end
  end
end

-- Why Redis refused to publish a notice, in this call; the fifth part of the answer. Readers then
-- see what was written only when they look for themselves. What was written stays.
local unheard

-- Tell readers of `chunks`, which are `first` to `last` (none: `first` is one more), and of an end
-- ('': none). at: attempt, nonce, publish, channel
local function tell(at, first, last, finish, chunks)
  local nonce = at.nonce == '' and '-' or at.nonce
  local heard = redis.pcall(at.publish, at.channel, at.attempt .. ' ' .. nonce .. ' ' .. first .. ' '
    .. last .. ' ' .. (finish == '' and '-' or finish) .. '\n' .. chunks)
  if type(heard) == 'table' then unheard = heard.err end
end

-- A stream that has ended leaves the part of the index with the active ones.
local function leave()
  if KEYS[3] then redis.pcall('ZREM', KEYS[3], string.match(KEYS[1], '{([^{}]*)}:m$')) end
end

-- End the stream behind its last chunk, and tell readers.
-- at: as of `tell`, and seq (of that chunk), now, ttl
local function close(at, finish, err)
  redis.call('HSET', KEYS[1], 'e', finish, 'er', err, 'z', at.now)
  keep(KEYS[1], KEYS[2], at.ttl)
  leave()
  tell(at, at.seq + 1, at.seq, finish, '')
end

-- The offset after chunk `seq`, ' ', and `finish` or '-'. An end that was inherited is written as
-- the attempt it is of. (Of values, not of keys: those may be over already.)
local function place(attempt, nonce, seq, lineage, finish)
  for before, name, last in string.gmatch(lineage or '', '(%d+):(%x+):(%d+);') do
    if seq <= tonumber(last) then
      attempt, nonce = before, name
      break
    end
  end
  if not finish or finish == '' then finish = '-' end
  return string.format('%06d_%010d_%s %s', attempt, seq, nonce, finish)
end

-- Add the chunks behind `at.seq` up to `last` as one entry, end the stream if `finish` says so,
-- and tell readers. False, and nothing changed: the log was lost without the state.
-- at: attempt, nonce, seq, bytes (with the new chunks), now, lease (until when), kept (when the
--   keys' time to live was last set), ttl, publish, channel
local function add(at, last, chunks, finish, err)
  local state, log, before, now = KEYS[1], KEYS[2], at.seq, at.now
  if last > before then
    local id = at.attempt .. '-' .. last
    if before == 0 then
      redis.call('XADD', log, id, 'd', chunks)
      redis.call('HSET', state, 'f', now)
    elseif not redis.call('XADD', log, 'NOMKSTREAM', id, 'd', chunks) then
      return false
    end
  end
  redis.call('HSET', state, 'q', last, 'b', at.bytes, 'x', at.lease)
  if finish ~= '' then
    redis.call('HSET', state, 'e', finish, 'er', err, 'z', now)
    leave()
  end
  -- Keys live on from the last write or a little less: not every append needs to say so.
  if finish ~= '' or before == 0 or now - at.kept > at.ttl / 16 then
    redis.call('HSET', state, 'p', now)
    keep(state, log, at.ttl)
  end
  if finish ~= '' or last > before then
    tell(at, before + 1, last, finish, chunks)
  end
  return true
end
-- Not a script by itself: prepended to the scripts that enter streams in the index, which is
-- advisory: whatever Redis refuses here, a stream begins and ends all the same.

-- Enter a stream in one part of the index. A label's part goes when it has not been used for a week.
local function list(key, at, name)
  redis.pcall('ZADD', key, at, name)
  if string.find(key, ':label:', 1, true) then redis.pcall('PEXPIRE', key, 604800000) end
end

-- The stream whose state is kept in this key.
local function name_of(state)
  return string.match(state, '{([^{}]*)}:m$')
end

-- Enter the stream of KEYS[1] in the parts that KEYS names, from the one of that number on.
local function enter(first, at)
  for i = first, #KEYS do list(KEYS[i], at, name_of(KEYS[1])) end
end

-- Note what the application says of a stream: its task, labels, and how long it is kept.
local function about(state, task, labels, kept)
  redis.call('HSET', state, 'tn', task)
  if labels ~= '' then redis.call('HSET', state, 'lb', labels) end
  if kept ~= '0' then redis.call('HSET', state, 'kt', kept) end
end
-- Become the stream's one producer: begin the next attempt.
-- KEYS 1 state  2 log  3... where the index has it (a cluster elsewhere)
-- ARGV 1 nonce  2 lease ms  3 ttl ms  4 attempt to re-create (0: the next one)  5 owner  6 kind
--      7 publish command  8 '1' to continue the log of the attempt before ('': start over)
--      9 '1' to overwrite: take over from a living producer, or restart an ended stream
--      10 channel  11 '1' to restart one that ended as `producer-disconnected`, if the owner is the same
--      12 the task that is told of its end, if none is named yet ('': none)
--      13 name of the task  14 labels (JSON or '')  15 ms that it is kept after its end (0: ttl)
-- Answers: ok (number: the attempt; reason: seq of the last chunk)  busy (number: ms until the
--   lease ends)  closed (reason)  fenced (a newer attempt exists, or others write it over HTTP)
-- Idempotent: the same nonce gets the same answer. `attempt to re-create` is for a producer whose
-- attempt Redis has lost (restart without persistence, failover): it was granted once, so it may
-- take the place of an older attempt that came back from the dead, lease or not.
local state, log = KEYS[1], KEYS[2]
local nonce, lease, ttl, want = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local now = clock()
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'x', 'e', 'r', 's', 'h', 'w', 'o', 'D', 'fk', 'tn')
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
  m[5], m[7], unlisted = false, false, true
end
if m[5] == 'producer-disconnected' and ARGV[11] == '1' and m[10] == ARGV[5] then
  -- Not the stop: one that was asked for holds for every attempt.
  redis.call('HDEL', state, 'e', 'er', 'z')
  redis.call('HSET', state, 'r', 1)
  m[5], m[6], unlisted = false, '1', true
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
  if ARGV[8] == '1' and attempt > 0 then
    lineage = (m[8] or '') .. attempt .. ':' .. m[2] .. ':' .. seq .. ';'
  else
    seq = 0
  end
  attempt = attempt + 1
end
if seq == 0 then
  redis.call('DEL', log)
  redis.call('HSET', state, 'b', 0)
  redis.call('HDEL', state, 'f', 'ip')
end
redis.call('HSETNX', state, 'c', now)
redis.call('HSETNX', state, 'o', ARGV[5])
redis.call('HDEL', state, 'r')
if ARGV[12] ~= '' then redis.call('HSETNX', state, 'on', ARGV[12]) end
redis.call('HSET', state, 'a', attempt, 'n', nonce, 'q', seq, 'x', now + lease, 'k', ARGV[6],
  'h', lineage)
if unlisted then
  -- It was not announced, or by an earlier version, or it had ended.
  about(state, ARGV[13], ARGV[14], ARGV[15])
  enter(3, redis.call('HGET', state, 'c'))
end
redis.call('PEXPIRE', state, ttl)
local at = {attempt = attempt, nonce = nonce, publish = ARGV[7], channel = ARGV[10]}
tell(at, seq + 1, seq, '', '')
return {'ok', attempt, stop, tostring(seq), unheard}
