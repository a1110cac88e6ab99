-- Delete a stream. One whose worker may still write is kept: it is to be stopped first. One that
-- has forks is hidden until the last of them is deleted; they have copies of what they inherited.
-- KEYS 1 state  2 log  3... where the index has it (a cluster elsewhere)
-- ARGV 1 publish command  2 channel  3 '1': hide a task's stream for as long as it would have been
--      kept, so that a message that is still in a queue does not begin it again
-- Answers: ok (reason: the stream it was forked from, if it is gone now)  held (a worker writes it)
--   deleted (it was hidden already)  unknown
local state = KEYS[1]
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'e', 'w', 'fk', 'ff', 'D', 'o')
if not m[1] then return {'unknown', 0, 0, ''} end
if m[8] then return {'deleted', 0, 0, ''} end
if not m[4] and not m[5] then return {'held', 0, 0, ''} end
redis.call('DEL', KEYS[2])
for i = 3, #KEYS do redis.pcall('ZREM', KEYS[i], string.match(KEYS[1], '{([^{}]*)}:m$')) end
local source = ''
local forks = tonumber(m[6] or 0) > 0
if forks or (ARGV[3] == '1' and m[9] and m[9] ~= '') then
  redis.call('HSET', state, 'D', 1)
  redis.call('HDEL', state, 'er', 'cv', 'lb')
else
  redis.call('DEL', state)
end
if not forks then source = m[7] or '' end
local at = {attempt = m[1], nonce = m[2], publish = ARGV[1], channel = ARGV[2]}
tell(at, m[3] + 1, m[3], 'deleted', '')
return {'ok', 0, 0, source, unheard}
