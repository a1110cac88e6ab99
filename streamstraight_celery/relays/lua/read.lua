-- The state and a page of the log, as of one moment.
-- KEYS 1 state  2 log
-- ARGV 1 attempt  2 seq to read after  3 most entries (0: the state alone)
-- Answers: {} (no such stream) or {now ms, {state fields...}, {entries, as XRANGE gives them}}
local state = redis.call('HMGET', KEYS[1],
  'a', 'n', 'q', 'x', 'r', 'e', 'er', 's', 'o', 'k', 'b', 'c', 'f', 'z', 'h')
if not state[1] then return {} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entries = {}
if tonumber(ARGV[3]) > 0 and tonumber(state[3]) > tonumber(ARGV[2]) then
  entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-' .. ARGV[2], '+', 'COUNT', ARGV[3])
end
return {now, state, entries}
