-- Compare and set the stream that a conversation names. Whether that stream is still active only
-- its own state says, which may be on another node of a cluster: the caller looks there.
-- KEYS 1 state  2 log
-- ARGV 1-6 as post.lua  7 stream to name ('': none)  8 stream that it has to name now ('': none)
--      9 id of the event that is added with that ('': none)  10 event
-- Answers: ok (it names the stream asked for)  held (reason: the stream that it names)
--   waits (streams in the queue come first)  unknown (it names none)  too-large (the log is full)  exists (a stream of that id is not one)
-- Idempotent: setting the same value again changes nothing. With both streams empty nothing
-- changes; asking for the stream that it names lets the keys live on.
local state = KEYS[1]
local stream, before = ARGV[7], ARGV[8]
local current = redis.call('HGET', state, 'A') or ''
local at = {
  name = ARGV[1], nonce = ARGV[2], ttl = tonumber(ARGV[3]), limit = tonumber(ARGV[4]),
  publish = ARGV[5], channel = ARGV[6],
}
if stream ~= '' and (current == before or current == stream) then
  if not begun(at) then return {'exists', 0, 0, ''} end
  if current ~= stream and (redis.call('HGET', state, 'Q') or ' ') ~= ' ' then
    return {'waits', 0, 0, ''}
  end
  if ARGV[9] ~= '' and tell_all(at, ARGV[9], ARGV[10], false) == 'too-large' then
    return {'too-large', 0, 0, ''}
  end
  redis.call('HSET', state, 'A', stream)
  keep(state, KEYS[2], at.ttl)
  return {'ok', 0, 0, '', unheard}
end
if stream == '' and current ~= '' and current == before then
  redis.call('HDEL', state, 'A')
  return {'ok', 0, 0, ''}
end
if current == '' then return {'unknown', 0, 0, ''} end
return {'held', 0, 0, current}
