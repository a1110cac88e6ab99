-- What an earlier attempt has kept with `checkpoint`.
-- KEYS 1 state
-- Answers: ok (number: seq of the last chunk that it covers; reason: the value, '' for none)
--   unknown
local m = redis.call('HMGET', KEYS[1], 'a', 'q', 'h', 'cv', 'cq', 'ca')
if not m[1] then return {'unknown', 0, 0, ''} end
-- Only of this attempt or of those that it continues, not of a log that was started over.
local known = m[6] == m[1] or string.find(';' .. (m[3] or ''), ';' .. (m[6] or '') .. ':', 1, true)
if not m[4] or not known or tonumber(m[5]) > tonumber(m[2]) then return {'ok', 0, 0, ''} end
return {'ok', tonumber(m[5]), 0, m[4]}
