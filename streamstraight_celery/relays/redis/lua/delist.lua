-- Remove a stream from a list, unless it was listed again meanwhile.
-- KEYS 1 the list
-- ARGV 1 stream  2 its mark
-- Answers: ok  fenced (it has another mark, or is not there)
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then
  return {'fenced', 0, 0, ''}
end
redis.call('ZREM', KEYS[1], ARGV[1])
return {'ok', 0, 0, ''}
