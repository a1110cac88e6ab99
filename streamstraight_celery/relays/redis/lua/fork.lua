-- Count a fork of a stream in or out. A deleted stream without forks is gone for good.
-- KEYS 1 state
-- ARGV 1 1 (in) or -1 (out)
-- Answers: ok (reason: when the stream is gone now, the one it was forked from itself)  deleted
--   unknown
local state = KEYS[1]
local m = redis.call('HMGET', state, 'a', 'D', 'ff', 'fk')
if not m[1] then return {'unknown', 0, 0, ''} end
if ARGV[1] == '1' and m[2] then return {'deleted', 0, 0, ''} end
if ARGV[1] ~= '1' and tonumber(m[4] or 0) <= 0 then
  return {'ok', 0, 0, ''} -- a fork of an earlier stream of that name
end
local forks = redis.call('HINCRBY', state, 'fk', ARGV[1])
if not m[2] or forks > 0 then return {'ok', forks, 0, ''} end
redis.call('DEL', state)
return {'ok', 0, 0, m[3] or ''}
