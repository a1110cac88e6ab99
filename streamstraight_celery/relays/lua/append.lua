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
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kind, bytes, before = 'ok', tonumber(m[5]), seq
if count > 0 and last <= seq then kind = 'duplicate' end
if last > seq then
  for _ = first, seq do
    chunks = string.sub(chunks, string.find(chunks, '\n', 1, true) + 1)
  end
  bytes = bytes + #chunks
  if bytes > tonumber(ARGV[8]) then
    kind, finish, last, chunks, bytes = 'too-large', 'too-large', seq, '', bytes - #chunks
  else
    local id = attempt .. '-' .. last
    if seq == 0 then
      redis.call('XADD', log, id, 'd', chunks)
      redis.call('HSET', state, 'f', now)
    elseif not redis.call('XADD', log, 'NOMKSTREAM', id, 'd', chunks) then
      -- The log was evicted or lost without the state: the producer sends all of it again.
      redis.call('HSET', state, 'q', 0, 'b', 0)
      return {'gap', 1, stop, ''}
    end
    seq = last
  end
else
  last, chunks = seq, ''
end
redis.call('HSET', state, 'q', seq, 'b', bytes, 'x', now + ARGV[6])
if finish ~= '' then
  redis.call('HSET', state, 'e', finish, 'er', ARGV[10], 'z', now)
end
-- Keys live on from the last write or a little less: not every append needs to say so.
if finish ~= '' or before == 0 or now - tonumber(m[7] or 0) > ARGV[7] / 16 then
  redis.call('HSET', state, 'p', now)
  redis.call('PEXPIRE', state, ARGV[7])
  redis.call('PEXPIRE', log, ARGV[7])
end
if finish ~= '' or seq > before then
  redis.call(ARGV[11], KEYS[3], attempt .. ' ' .. nonce .. ' ' .. (before + 1) .. ' ' .. seq .. ' '
    .. (finish == '' and '-' or finish) .. '\n' .. chunks)
end
return {kind, seq, stop, finish}
