-- Hand out the messages of suspended tasks that are to be sent now: their input is there, they have
-- ended, or their deadline is over. To one caller at a time.
-- KEYS 1 state  2 log
-- ARGV 1 stream whose message was sent ('': none)  2 the attempt that waited  3 ms in which nobody
--      else gets the same  4 most messages
-- Answers: ok (number: tasks that wait; reason: a line for each message: stream, attempt, message)
--   unknown (no such conversation)
-- Idempotent: what was sent of another attempt changes nothing.
local state, now = KEYS[1], clock()
local m = redis.call('HMGET', state, 'cn', 'W')
if not m[1] then return {'unknown', 0, 0, ''} end
local left, count, rows = ' ', 0, {}
for stream in string.gmatch(m[2] or '', '[^ ]+') do
  local kept, message = unpack(redis.call('HMGET', state, 'w:' .. stream, 'wm:' .. stream))
  local attempt, due, held, deadline, asked = string.match(kept or '', WAIT)
  if not attempt or stream == ARGV[1] and attempt == ARGV[2] then
    redis.call('HDEL', state, 'w:' .. stream, 'wm:' .. stream)
  else
    left, count = left .. stream .. ' ', count + 1
    local free = tonumber(held) <= now and #rows < tonumber(ARGV[4])
    if free and (due == '1' or tonumber(deadline) <= now) then
      redis.call('HSET', state, 'w:' .. stream, attempt .. ' ' .. due .. ' '
        .. string.format('%d', now + ARGV[3]) .. ' ' .. deadline .. ' ' .. asked)
      rows[#rows + 1] = stream .. ' ' .. attempt .. ' ' .. message
    end
  end
end
redis.call('HSET', state, 'W', left)
return {'ok', count, 0, table.concat(rows, '\n')}
