-- How far the search for streams without an entry in the index has come.
-- KEYS 1 the progress
-- ARGV 1 what it is to be now ('': only tell)  2 what it has to be before
-- Answers: ok (reason: what it is)
local current = redis.call('GET', KEYS[1]) or ''
if ARGV[1] ~= '' and current == ARGV[2] then
  current = ARGV[1]
  redis.call('SET', KEYS[1], current)
end
return {'ok', clock(), 0, current}
