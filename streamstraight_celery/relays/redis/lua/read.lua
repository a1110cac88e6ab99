-- The state and a page of the log, as of one moment.
-- KEYS 1 state  2 log
-- ARGV 1 attempt  2 seq to read after  3 most entries (0: the state alone)
--      4 '1': a reader asks, which extends a stream's own time to live
-- Answers: {} (no such stream) or {now ms, {state fields...}, {entries, as XRANGE gives them}}
-- Entries of a sealed log have the field `z`, deflated, and may be fewer than were asked for.

-- The blocks of a sealed log that end after chunk `seq`.
local function blocks(log, seq, most)
  local rows, number, bytes = {}, 0, 0
  -- No more for one script, which keeps Redis from others.
  local enough = 131072
  for last in string.gmatch(redis.call('LINDEX', log, -1) or '', '%d+') do
    if tonumber(last) > seq then
      local block = redis.call('LINDEX', log, number)
      rows[#rows + 1] = {'0-' .. last, {'z', block}}
      bytes = bytes + #block
      if #rows == most or bytes >= enough then break end
    end
    number = number + 1
  end
  return rows
end

local state = redis.call('HMGET', KEYS[1],
  'a', 'n', 'q', 'x', 'r', 'e', 'er', 's', 'o', 'k', 'b', 'c', 'f', 'z', 'h', 't', 'w', 'l', 'y', 'D', 'C',
  'on', 'te', 'tn', 'lb', 'kt', 'ip', 'wk', 'qu', 'Z', 'sw')
if not state[1] then return {} end
if ARGV[4] == '1' and state[18] then
  redis.call('PEXPIRE', KEYS[1], state[18])
  redis.call('PEXPIRE', KEYS[2], state[18])
end
local entries = {}
local seq, most = tonumber(ARGV[2]), tonumber(ARGV[3])
if most > 0 and tonumber(state[3]) > seq then
  if state[30] and state[30] == state[1] then
    return {clock(), state, blocks(KEYS[2], seq, most)}
  end
  entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-' .. ARGV[2], '+', 'COUNT', ARGV[3])
end
return {clock(), state, entries}
