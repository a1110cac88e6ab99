-- Not a script by itself: prepended to the scripts that need the time.

-- Redis' time in ms.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The state and a page of the log, as of one moment.
-- KEYS 1 state  2 log
-- ARGV 1 attempt  2 seq to read after  3 most entries (0: the state alone)
--      4 '1': a reader asks, which extends a stream's own time to live
-- Answers: {} (no such stream) or {now ms, {state fields...}, {entries, as XRANGE gives them}}
local state = redis.call('HMGET', KEYS[1],
  'a', 'n', 'q', 'x', 'r', 'e', 'er', 's', 'o', 'k', 'b', 'c', 'f', 'z', 'h', 't', 'w', 'l', 'y', 'D', 'C',
  'on', 'te', 'tn', 'lb', 'kt', 'ip')
if not state[1] then return {} end
if ARGV[4] == '1' and state[18] then
  redis.call('PEXPIRE', KEYS[1], state[18])
  redis.call('PEXPIRE', KEYS[2], state[18])
end
local entries = {}
if tonumber(ARGV[3]) > 0 and tonumber(state[3]) > tonumber(ARGV[2]) then
  entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-' .. ARGV[2], '+', 'COUNT', ARGV[3])
end
return {clock(), state, entries}
