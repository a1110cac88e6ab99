-- Which of some streams the index does not know.
-- KEYS 1 the part that has all streams
-- ARGV streams
-- Answers: ok (reason: those that are not in it)
local missing = {}
for _, name in ipairs(ARGV) do
  if not redis.call('ZSCORE', KEYS[1], name) then missing[#missing + 1] = name end
end
return {'ok', #missing, 0, table.concat(missing, ' ')}
