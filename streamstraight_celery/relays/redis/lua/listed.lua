-- A part of a list: streams that nobody looks at now, the oldest marks first.
-- KEYS 1 the list
-- ARGV 1 how many to skip  2 most streams
-- Answers: ok (number: now, ms; reason: `stream mark` a line)
local now = clock()
local rows = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', ARGV[1],
  ARGV[2])
local lines = {}
for i = 1, #rows, 2 do lines[#lines + 1] = rows[i] .. ' ' .. rows[i + 1] end
return {'ok', now, 0, table.concat(lines, '\n')}
