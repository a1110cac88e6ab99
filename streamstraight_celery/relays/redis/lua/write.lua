-- Append chunks to a stream made by open.lua; optionally end it in the same step.
-- KEYS 1 state  2 log  3 the index's active streams (a cluster has them elsewhere)
-- ARGV 1 content type ('': any)  2 number of chunks  3 chunks, one a line  4 ttl ms
--      5 largest sum of bytes  6 end reason ('': stays open)  7 publish command
--      8 writer's sequence ('': none)  9 producer ('': none)  10 its epoch  11 its seq
--      12 channel
-- Answers: ok (number: highest seq of the producer)  duplicate (as ok; nothing was added)
--   gap (number: the producer's seq expected next)  fenced (number: the producer's epoch)
--   epoch (a new epoch has to begin with seq 0)  sequence (the writer's sequence does not increase)
--   type (other content type)  closed  too-large  held (a worker writes it, or it is a conversation)  deleted  unknown
--   reason of ok, duplicate and closed: offset of its end, ' ', end reason or '-'
local state = KEYS[1]
local producer, epoch, number = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local count, chunks, finish = tonumber(ARGV[2]), ARGV[3], ARGV[6]
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'e', 'b', 'w', 't', 'v', 'd:' .. producer, 'pe',
  'D', 'h', 'pc', 'cn')
local attempt, seq = tonumber(m[1]), tonumber(m[3])
if not attempt then return {'unknown', 0, 0, ''} end
if m[11] then return {'deleted', 0, 0, ''} end

-- Byte by byte: Lua's own comparison follows the server's locale.
local function increases(old, new)
  for i = 1, math.min(#old, #new) do
    local a, b = string.byte(old, i), string.byte(new, i)
    if a ~= b then return b > a end
  end
  return #new > #old
end

local here = place(attempt, m[2], seq, m[12], m[4])
local identity = producer .. ' ' .. ARGV[10] .. ' ' .. ARGV[11]
if m[4] then
  if producer ~= '' and m[10] == identity then
    return {'duplicate', number, 0, here}
  end
  if producer == '' and count == 0 and finish ~= '' then
    return {'duplicate', 0, 0, here}
  end
  return {'closed', 0, 0, here}
end
if not m[6] or m[14] then return {'held', 0, 0, ''} end
if ARGV[1] ~= '' and ARGV[1] ~= m[7] then return {'type', 0, 0, m[7]} end
if producer ~= '' then
  local had_epoch, had_number = -1, -1
  -- Names are kept as long as the stream: so many and no more (field pc counts them).
  if not m[9] and tonumber(m[13] or 0) >= 1000 then return {'too-large', 0, 0, ''} end
  if m[9] then
    had_epoch, had_number = string.match(m[9], '^(%d+) (%d+)$')
    had_epoch, had_number = tonumber(had_epoch), tonumber(had_number)
  end
  if epoch < had_epoch then return {'fenced', had_epoch, 0, ''} end
  if epoch > had_epoch then
    if number ~= 0 then
      if had_epoch < 0 then return {'gap', 0, 0, ''} end
      return {'epoch', 0, 0, ''}
    end
  elseif number <= had_number then
    return {'duplicate', had_number, 0, here}
  elseif number > had_number + 1 then
    return {'gap', had_number + 1, 0, ''}
  end
end
if ARGV[8] ~= '' and m[8] and not increases(m[8], ARGV[8]) then return {'sequence', 0, 0, ''} end
local bytes = tonumber(m[5]) + #chunks
if bytes > tonumber(ARGV[5]) then return {'too-large', 0, 0, ''} end
local last = seq + count
local at = {
  attempt = attempt, nonce = m[2], seq = seq, bytes = bytes, now = clock(),
  lease = '99999999999999', kept = 0, ttl = tonumber(ARGV[4]),
  publish = ARGV[7], channel = ARGV[12],
}
-- Before the keys' time to live is renewed: nothing after that may create a key without one.
if producer ~= '' then
  redis.call('HSET', state, 'd:' .. producer, ARGV[10] .. ' ' .. ARGV[11])
  if not m[9] then redis.call('HINCRBY', state, 'pc', 1) end
  if finish ~= '' then redis.call('HSET', state, 'pe', identity) end
end
if ARGV[8] ~= '' then redis.call('HSET', state, 'v', ARGV[8]) end
if not add(at, last, chunks, finish, '') then
  -- The log was lost without the state, and there is no copy.
  redis.call('DEL', state)
  return {'unknown', 0, 0, ''}
end
return {'ok', number or 0, 0, place(attempt, m[2], last, m[12], finish), unheard}
