-- No script of its own: it stands in front of the scripts that write, and holds the one way in
-- which chunks and ends get into a log.

-- Redis' time in ms.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Let the keys live on: as the stream itself says (fields l, y), else for `ttl` ms.
local function keep(state, log, ttl)
  local own = redis.call('HMGET', state, 'l', 'y')
  for _, key in ipairs({state, log}) do
    if own[2] then
      redis.call('PEXPIREAT', key, own[2])
    else
      redis.call('PEXPIRE', key, own[1] or ttl)
    end
  end
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
  end
  -- Keys live on from the last write or a little less: not every append needs to say so.
  if finish ~= '' or before == 0 or now - at.kept > at.ttl / 16 then
    redis.call('HSET', state, 'p', now)
    keep(state, log, at.ttl)
  end
  if finish ~= '' or last > before then
    redis.call(at.publish, at.channel, at.attempt .. ' ' .. at.nonce .. ' ' .. (before + 1) .. ' '
      .. last .. ' ' .. (finish == '' and '-' or finish) .. '\n' .. chunks)
  end
  return true
end
