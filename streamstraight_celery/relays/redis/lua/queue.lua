-- Put a stream into the conversation's queue, with the message that begins its task.
-- KEYS 1 state  2 log
-- ARGV 1-6 as post.lua  7 stream  8 message  9 id of the event that is added with that  10 event
--      11 most streams in the queue
-- Answers: ok  too-large (the log or the queue is full)  exists (a stream of that id is not one)
-- Idempotent: a stream that is in the queue, or has had its turn last, is not put there again.
local state, stream = KEYS[1], ARGV[7]
local at = {
  name = ARGV[1], nonce = ARGV[2], ttl = tonumber(ARGV[3]), limit = tonumber(ARGV[4]),
  publish = ARGV[5], channel = ARGV[6],
}
if not begun(at) then return {'exists', 0, 0, ''} end
local m = redis.call('HMGET', state, 'A', 'Q')
local queue = m[2] or ' '
if m[1] == stream or string.find(queue, ' ' .. stream .. ' ', 1, true) then return {'ok', 0, 0, ''} end
local _, length = string.gsub(queue, '[^ ]+', '')
if length >= tonumber(ARGV[11]) then return {'too-large', 0, 0, ''} end
if tell_all(at, ARGV[9], ARGV[10], false) == 'too-large' then return {'too-large', 0, 0, ''} end
redis.call('HSET', state, 'Q', queue .. stream .. ' ', 'm:' .. stream, ARGV[8])
return {'ok', 0, 0, '', unheard}
