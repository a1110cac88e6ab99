-- Add one entry of chunks, and perhaps end the stream in the same step.
-- KEYS 1 state  2 log  3 channel
-- ARGV 1 attempt  2 nonce  3 seq of the first chunk  4 number of chunks  5 chunks, one a line
--      6 lease ms  7 ttl ms  8 largest sum of bytes  9 end reason ('': stays open)
--      10 error for readers (JSON or '')  11 publish command
-- Answers: ok (number: seq of the last chunk; stop: whether a stop was asked)
--   duplicate (all of it was here)  gap (number: the seq expected next)  fenced (another attempt
--   writes)  closed (reason)  too-large (the stream is now closed)  unknown (state lost: claim again)
-- Idempotent: chunks that are here already are skipped, so a repeated request changes nothing.
local state, log = KEYS[1], KEYS[2]
local attempt, nonce = tonumber(ARGV[1]), ARGV[2]
local first, count, chunks = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local finish = ARGV[9]
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'e', 'b', 's', 'f')
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
if seq > 0 and first > 1 and redis.call('EXISTS', log) == 0 then
  -- The log was evicted or lost without the state: the producer sends all of it again.
  redis.call('HSET', state, 'q', 0, 'b', 0)
  return {'gap', 1, stop, ''}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kind = 'ok'
if count > 0 and last <= seq then kind = 'duplicate' end
if last > seq then
  for _ = first, seq do
    chunks = string.sub(chunks, string.find(chunks, '\n', 1, true) + 1)
  end
  first = seq + 1
  local bytes = tonumber(m[5]) + #chunks
  if bytes > tonumber(ARGV[8]) then
    kind, finish, last, chunks = 'too-large', 'too-large', seq, ''
  else
    redis.call('XADD', log, attempt .. '-' .. last, 'd', chunks)
    redis.call('HSET', state, 'q', last, 'b', bytes, 'x', now + ARGV[6])
    if not m[7] then redis.call('HSET', state, 'f', now) end
  end
else
  first, last, chunks = seq + 1, seq, ''
  redis.call('HSET', state, 'x', now + ARGV[6])
end
if finish ~= '' then
  redis.call('HSET', state, 'e', finish, 'er', ARGV[10], 'z', now)
end
redis.call('PEXPIRE', state, ARGV[7])
redis.call('PEXPIRE', log, ARGV[7])
if finish ~= '' or last >= first then
  redis.call(ARGV[11], KEYS[3], attempt .. ' ' .. nonce .. ' ' .. first .. ' ' .. last .. ' '
    .. (finish == '' and '-' or finish) .. '\n' .. chunks)
end
return {kind, last, stop, finish}
