-- Not a script by itself: stands after log.lua in front of the scripts of a conversation, whose log
-- is a stream that others write. The only code that begins it and adds events to it.

-- The conversation's state, begun if it is not there.
-- at: name, nonce (of a log that begins now), ttl, limit (of its bytes), publish, channel
-- False: a stream of that id is not a conversation.
local function begun(at)
  local state = KEYS[1]
  local m = redis.call('HMGET', state, 'a', 'n', 'q', 'b', 'cn')
  at.now, at.lease, at.kept = clock(), '99999999999999', 0
  if m[1] and not m[5] then return false end
  if not m[1] then
    redis.call('DEL', KEYS[2])
    redis.call('HSET', state, 'a', 1, 'n', at.nonce, 'q', 0, 'b', 0, 'o', '', 'k', 'json', 'c', at.now,
      't', 'application/json', 'w', 1, 'g', 'conversation', 'h', '', 'x', at.lease, 'cn', 1, 'C', at.name)
    redis.call('PEXPIRE', state, at.ttl)
    m = {1, at.nonce, 0, 0}
  end
  at.attempt, at.nonce, at.seq, at.size = tonumber(m[1]), m[2], tonumber(m[3]), tonumber(m[4])
  return true
end

-- A suspended task, as it is kept: the attempt that waits, whether its message is to be sent, until
-- when somebody is doing so, the deadline, and the question that it waits for.
local WAIT = '^(%d+) (%d) (%d+) (%d+) (.*)$'

-- Note which suspended tasks' messages are to be sent; whether there are any.
local function make_due(wakes)
  local found = false
  for stream in string.gmatch(redis.call('HGET', KEYS[1], 'W') or '', '[^ ]+') do
    local kept = redis.call('HGET', KEYS[1], 'w:' .. stream)
    local attempt, due, held, deadline, asked = string.match(kept or '', WAIT)
    if due == '0' and wakes(stream, asked) then
      due = '1'
      redis.call('HSET', KEYS[1], 'w:' .. stream,
        attempt .. ' 1 ' .. held .. ' ' .. deadline .. ' ' .. asked)
    end
    found = found or due == '1'
  end
  return found
end

-- Add an event, once for each id: returns 'ok', 'duplicate' or 'too-large', and its seq.
-- Its time goes in front of what it says.
local function tell_all(at, id, event, vital)
  local state = KEYS[1]
  local before = redis.call('HGET', state, 'i:' .. id)
  if before then return 'duplicate', tonumber(before) end
  event = '{"at":' .. at.now .. ',' .. string.sub(event, 2)
  if at.size + #event > at.limit and not vital then return 'too-large', 0 end
  at.bytes = at.size + #event
  if not add(at, at.seq + 1, event, '', '') then
    -- The log was lost without the state: readers are told so by another attempt.
    at.attempt, at.seq, at.bytes = at.attempt + 1, 0, #event
    redis.call('HSET', state, 'a', at.attempt)
    add(at, 1, event, '', '')
  end
  at.seq, at.size = at.seq + 1, at.bytes
  redis.call('HSET', state, 'i:' .. id, at.seq)
  return 'ok', at.seq
end
