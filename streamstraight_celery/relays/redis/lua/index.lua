-- Correct what the index says of a stream. It is advisory: what a stream is, its state says.
-- KEYS parts of the index: first those to enter it in, then those to remove it from
-- ARGV 1 stream  2 when it was asked for, ms (0: now)  3 how many of the keys it enters
-- Answers: ok
local at = ARGV[2] == '0' and clock() or ARGV[2]
for i = 1, #KEYS do
  if i > tonumber(ARGV[3]) then
    redis.call('ZREM', KEYS[i], ARGV[1])
  else
    list(KEYS[i], at, ARGV[1])
  end
end
return {'ok', 0, 0, ''}
