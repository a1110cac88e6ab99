-- Append one entry of chunks; optionally end the stream in the same step.
-- KEYS 1 state  2 log  3 the index's active streams (a cluster has them elsewhere)
-- ARGV 1 attempt  2 nonce  3 seq of the first chunk  4 number of chunks  5 chunks, one a line
--      6 lease ms  7 ttl ms  8 largest sum of bytes  9 end reason ('': stays open)
--      10 error for readers (JSON or '')  11 publish command  12 channel
--      13 seq of the last event that the producer has received from its conversation (0: as before)
-- Answers: ok (number: seq of the last chunk; stop: whether a stop was asked)
--   duplicate (all of it was here)  gap (number: the seq expected next)  fenced (another attempt
--   writes)  closed (reason)  too-large (the stream is now closed)  unknown (state lost: claim again)
-- Idempotent: chunks that are here already are skipped, so a repeated request changes nothing.
local state = KEYS[1]
local attempt, nonce = tonumber(ARGV[1]), ARGV[2]
local first, count, chunks = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local finish = ARGV[9]
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'e', 'b', 's', 'p')
local current, seq = tonumber(m[1]), tonumber(m[3])
local stop = m[6] and 1 or 0
if not current or current < attempt then return {'unknown', 0, 0, ''} end
if current > attempt or m[2] ~= nonce then return {'fenced', current, 0, ''} end
local last = first + count - 1
if m[4] then
  if m[4] == finish and last <= seq then return {'duplicate', seq, stop, m[4]} end
  return {'closed', seq, stop, m[4]}
end
if first > seq + 1 then return {'gap', seq + 1, stop, ''} end
local kind, bytes = 'ok', tonumber(m[5])
if count > 0 and last <= seq then kind = 'duplicate' end
if last > seq then
  for _ = first, seq do
    chunks = string.sub(chunks, string.find(chunks, '\n', 1, true) + 1)
  end
  if bytes + #chunks > tonumber(ARGV[8]) then
    kind, finish, last, chunks = 'too-large', 'too-large', seq, ''
  end
else
  if finish ~= '' and seq > 0 and redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('HSET', state, 'q', 0, 'b', 0)
    return {'gap', 1, stop, ''}
  end
  last, chunks = seq, ''
end
local now = clock()
local at = {
  attempt = attempt, nonce = nonce, seq = seq, bytes = bytes + #chunks, now = now,
  lease = now + ARGV[6], kept = tonumber(m[7] or 0), ttl = tonumber(ARGV[7]),
  publish = ARGV[11], channel = ARGV[12],
}
if not add(at, last, chunks, finish, ARGV[10]) then
  -- The log was evicted or lost without the state: the producer sends all of it again.
  redis.call('HSET', state, 'q', 0, 'b', 0)
  return {'gap', 1, stop, ''}
end
if ARGV[13] ~= '0' then redis.call('HSET', state, 'ip', ARGV[13]) end
return {kind, last, stop, finish, unheard}
