-- Keep the message that begins a suspended task again, for an input or a deadline.
-- KEYS 1 state  2 log
-- ARGV 1-6 as post.lua  7 stream  8 attempt that waits  9 seq of the last event that it looked at
--      10 id of the question whose answer it waits for ('': any other input)  11 what it waits for
--      12 ms until the deadline  13 message  14 most tasks that wait
-- Answers: ok (number: ms until the deadline)  gap (there are events that it has not looked at)
--   closed (the deadline of what it waits for is over)  too-large (too many wait)  exists (a stream
--   of that id is not a conversation)
-- Idempotent: the first request for what it waits for decides about the deadline.
local state, stream = KEYS[1], ARGV[7]
local at = {
  name = ARGV[1], nonce = ARGV[2], ttl = tonumber(ARGV[3]), limit = tonumber(ARGV[4]),
  publish = ARGV[5], channel = ARGV[6],
}
if not begun(at) then return {'exists', 0, 0, ''} end
if at.seq > tonumber(ARGV[9]) then
  -- A request whose answer was lost may have kept the message: the task goes on without it.
  local kept = redis.call('HGET', state, 'w:' .. stream)
  if kept and string.match(kept, WAIT) == ARGV[8] then
    redis.call('HDEL', state, 'w:' .. stream, 'wm:' .. stream)
  end
  return {'gap', at.seq, 0, ''}
end
local m = redis.call('HMGET', state, 'W', 'v:' .. stream, 'kt')
local deadlines, deadline = m[2] or '', nil
for each, what in string.gmatch(deadlines, '(%d+) ([^\n]*)\n') do
  if what == ARGV[11] then deadline = each end
end
if not deadline then
  deadline = string.format('%d', at.now + ARGV[12])
  deadlines = deadlines .. deadline .. ' ' .. ARGV[11] .. '\n'
end
local left = deadline - at.now
if left <= 0 then return {'closed', 0, 0, ''} end
local waiting = m[1] or ' '
if not string.find(waiting, ' ' .. stream .. ' ', 1, true) then
  local _, length = string.gsub(waiting, '[^ ]+', '')
  if length >= tonumber(ARGV[14]) then return {'too-large', 0, 0, ''} end
  waiting = waiting .. stream .. ' '
end
redis.call('HSET', state, 'W', waiting, 'v:' .. stream, deadlines,
  'w:' .. stream, ARGV[8] .. ' 0 0 ' .. deadline .. ' ' .. ARGV[10], 'wm:' .. stream, ARGV[13])
-- The log lives for longer than a task waits in it.
if left + at.ttl > tonumber(m[3] or at.ttl) then redis.call('HSET', state, 'kt', left + at.ttl) end
keep(state, KEYS[2], at.ttl)
return {'ok', left, 0, ''}
