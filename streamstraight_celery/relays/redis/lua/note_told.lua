-- Note that the application was told of a stream's end.
-- KEYS 1 state
-- ARGV 1 attempt  2 when it ended, ms
-- Answers: ok  fenced (it has not ended, or again since)  unknown
-- The note names the end that it is of, so it says nothing about the next one of a stream that is
-- begun again.
local m = redis.call('HMGET', KEYS[1], 'a', 'e', 'z')
if not m[1] then return {'unknown', 0, 0, ''} end
if not m[2] or m[1] ~= ARGV[1] or m[3] ~= ARGV[2] then return {'fenced', 0, 0, ''} end
redis.call('HSET', KEYS[1], 'te', m[1] .. ':' .. m[3])
return {'ok', 0, 0, ''}
