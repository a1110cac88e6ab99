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
