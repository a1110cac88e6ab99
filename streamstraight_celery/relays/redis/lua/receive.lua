-- From which event on a stream's task receives messages, and how far it has received them.
-- KEYS 1 state
-- ARGV 1 stream  2 seq of the last event received (0: none yet)  3 '1': only what was sent since the
--      stream began, for a child
-- Answers: ok (number: seq of the event after which it began to receive)  unknown
-- Idempotent: where a stream began to receive does not change, so that another attempt of its task
-- receives the same.
local state, stream, seq = KEYS[1], ARGV[1], tonumber(ARGV[2])
local m = redis.call('HMGET', state, 'cn', 'R', 'b:' .. stream, 'i:stream:' .. stream)
if not m[1] then return {'unknown', 0, 0, ''} end
local received, begun = tonumber(m[2] or 0), tonumber(m[3])
if not begun then
  begun = ARGV[3] == '1' and tonumber(m[4] or 0) or received
  redis.call('HSET', state, 'b:' .. stream, begun)
end
if seq > received then redis.call('HSET', state, 'R', seq) end
return {'ok', begun, 0, ''}
