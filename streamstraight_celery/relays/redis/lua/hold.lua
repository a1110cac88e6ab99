-- Compare and set the stream that a conversation's key names. Whether that stream is still active
-- only its own state says, which may be on another node of a cluster: the caller looks there.
-- KEYS 1 the conversation
-- ARGV 1 stream to name ('': none)  2 stream that it has to name now ('': none)  3 ttl ms
-- Answers: ok (it names the stream asked for)  held (reason: the stream that it names)
--   unknown (it names none)
-- Idempotent: setting the same value again changes nothing. With both arguments empty nothing changes; asking for the
-- stream that it names lets the key live on.
local current = redis.call('GET', KEYS[1]) or ''
local stream, before, ttl = ARGV[1], ARGV[2], ARGV[3]
if stream ~= '' and (current == before or current == stream) then
  redis.call('SET', KEYS[1], stream, 'PX', ttl)
  return {'ok', 0, 0, ''}
end
if stream == '' and current ~= '' and current == before then
  redis.call('DEL', KEYS[1])
  return {'ok', 0, 0, ''}
end
if current == '' then return {'unknown', 0, 0, ''} end
return {'held', 0, 0, current}
