-- A page of the index.
-- KEYS 1 the part of it
-- ARGV 1 how many of the newest to leave out  2 how many to give
-- Answers: ok (number: how many there are; reason: streams and when they were asked for, ms, newest
--   first)
local total, limit = redis.call('ZCARD', KEYS[1]), tonumber(ARGV[2])
local found = {}
if limit > 0 then
  found = redis.call('ZREVRANGE', KEYS[1], ARGV[1], ARGV[1] + limit - 1, 'WITHSCORES')
end
return {'ok', total, 0, table.concat(found, ' ')}
