-- Note that another delivery of the stream's task waits for its present holder.
-- KEYS 1 state
-- ARGV 1 owner (task id)  2 ms in which it comes again
-- Answers: ok  closed (reason)  fenced (another task's)  unknown
local m = redis.call('HMGET', KEYS[1], 'o', 'e')
if not m[1] then return {'unknown', 0, 0, ''} end
if m[2] then return {'closed', 0, 0, m[2]} end
if m[1] ~= ARGV[1] then return {'fenced', 0, 0, ''} end
redis.call('HSET', KEYS[1], 'xd', clock() + ARGV[2])
return {'ok', 0, 0, ''}
