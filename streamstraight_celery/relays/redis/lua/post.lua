-- Add an event to a conversation's log; the first one begins it.
-- KEYS 1 state  2 log
-- ARGV 1 name  2 nonce of a log that begins  3 ttl ms  4 largest sum of bytes  5 publish command
--      6 channel  7 id of the event ('': only begin the log)  8 event, a JSON object
--      9 '1': also when the log is full  10 id of the question that the event settles ('': none)
--      11 id of the event that settles its question no longer ('': none)
--      12 '1': an input, for suspended tasks that wait for it  13 the stream that sends it ('': none)
--      14 the stream that has ended ('': none), whose task need wait no longer
-- Answers: ok (number: seq of the event; stop: messages of suspended tasks are to be sent)  duplicate (as ok: an event of that id is there)
--   closed (reason: the event that has settled the question)  too-large (the log is full)  exists (a stream of that id is not a conversation)
-- Idempotent: by the event's id.
local at = {
  name = ARGV[1], nonce = ARGV[2], ttl = tonumber(ARGV[3]), limit = tonumber(ARGV[4]),
  publish = ARGV[5], channel = ARGV[6],
}
if not begun(at) then return {'exists', 0, 0, ''} end
if ARGV[7] == '' then return {'ok', at.seq, 0, ''} end
local question = ARGV[10]
if question ~= '' then
  local by = redis.call('HGET', KEYS[1], 't:' .. question)
  if by and by ~= ARGV[7] then return {'closed', 0, 0, by} end
end
if ARGV[11] ~= '' then
  local refused = redis.call('HGET', KEYS[1], 'u:' .. ARGV[11])
  if refused then redis.call('HDEL', KEYS[1], 't:' .. refused, 'u:' .. ARGV[11]) end
end
local kind, seq = tell_all(at, ARGV[7], ARGV[8], ARGV[9] == '1')
if question ~= '' and kind == 'ok' then
  redis.call('HSET', KEYS[1], 't:' .. question, ARGV[7], 'u:' .. ARGV[7], question)
end
local new = kind == 'ok' and ARGV[12] == '1'
local due = make_due(function(stream, asked)
  return stream == ARGV[14] or new and stream ~= ARGV[13] and asked == question
end)
return {kind, seq, due and 1 or 0, '', unheard}
