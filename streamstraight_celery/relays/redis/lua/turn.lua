-- Whose turn it is in a conversation. The next stream of the queue has it when there is none, and
-- when the one that had it has ended, as the caller has seen.
-- KEYS 1 state
-- ARGV 1 stream that has ended ('': none)  2 stream whose message was sent ('': none)
--      3 stream that the caller asks about ('': none)
-- Answers: ok (number: streams in the queue; stop: the one that was asked about is in it; reason:
--   the stream whose turn it is, a line break, and its message if that is still to be sent)
--   unknown (no such conversation)
-- Idempotent: a stream that has not got the turn does not lose it.
local state = KEYS[1]
local m = redis.call('HMGET', state, 'cn', 'A', 'Q')
if not m[1] then return {'unknown', 0, 0, ''} end
local current, queue = m[2] or '', m[3] or ' '
if ARGV[2] ~= '' then redis.call('HDEL', state, 'm:' .. ARGV[2]) end
if current == ARGV[1] then
  redis.call('HDEL', state, 'm:' .. current)
  local first, rest = string.match(queue, '^ ([^ ]+)( .*)$')
  if first then
    current, queue = first, rest
    redis.call('HSET', state, 'A', current, 'Q', queue)
  end
end
local _, length = string.gsub(queue, '[^ ]+', '')
local waits = ARGV[3] ~= '' and string.find(queue, ' ' .. ARGV[3] .. ' ', 1, true)
local message = redis.call('HGET', state, 'm:' .. current) or ''
return {'ok', length, waits and 1 or 0, current .. '\n' .. message}
