-- Create a stream that others write, over HTTP: many writers, no lease, no attempts.
-- KEYS 1 state  2 log  3... where the index has it, first its active streams
-- ARGV 1 configuration (what makes two requests the same)  2 nonce  3 kind  4 content type
--      5 own ttl ms ('': none)  6 expires at, ms ('': never)  7 ttl ms without either
--      8 end reason ('': stays open)  9 number of chunks  10 chunks, one a line
--      11 largest sum of bytes  12 publish command  13 the stream it is forked from ('': none)
--      14 that one's attempts (field h)  15 channel  16... its entries: ID, chunks
-- Answers: ok (created)  duplicate (it is there, with the same configuration)  exists (with
--   another one, or a worker's)  too-large; reason of the first two: offset of its end, ' ', end
--   reason or '-'
-- Idempotent: the same nonce gets the same answer.
local state = KEYS[1]
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'e', 'g', 'D', 'h')
local finish = ARGV[8]
if m[1] then
  if m[6] or m[5] ~= ARGV[1] or (m[4] and true or false) ~= (finish ~= '') then
    return {'exists', 0, 0, ''}
  end
  local kind = m[2] == ARGV[2] and 'ok' or 'duplicate'
  return {kind, 0, 0, place(m[1], m[2], tonumber(m[3]), m[7], m[4])}
end
local count, chunks = tonumber(ARGV[9]), ARGV[10]
local attempt, seq, bytes = 1, 0, #chunks
for part in string.gmatch(ARGV[14], '[^;]+') do
  local before, last = string.match(part, '^(%d+):%x+:(%d+)$')
  attempt, seq = before + 1, tonumber(last)
end
for i = 17, #ARGV, 2 do bytes = bytes + #ARGV[i] end
if bytes > tonumber(ARGV[11]) then return {'too-large', 0, 0, ''} end
local now = clock()
redis.call('DEL', KEYS[2])
-- The lease of no producer is never over.
local never = '99999999999999'
redis.call('HSET', state, 'a', attempt, 'n', ARGV[2], 'o', '', 'k', ARGV[3], 't', ARGV[4],
  'c', now, 'w', 1, 'g', ARGV[1], 'h', ARGV[14])
about(state, '', '', '0')
enter(3, now)
for i = 16, #ARGV, 2 do redis.call('XADD', KEYS[2], ARGV[i], 'd', ARGV[i + 1]) end
if ARGV[13] ~= '' then redis.call('HSET', state, 'ff', ARGV[13]) end
if seq > 0 then redis.call('HSET', state, 'f', now) end
if ARGV[5] ~= '' then redis.call('HSET', state, 'l', ARGV[5]) end
if ARGV[6] ~= '' then redis.call('HSET', state, 'y', ARGV[6]) end
add({
  attempt = attempt, nonce = ARGV[2], seq = seq, bytes = bytes, now = now, lease = never, kept = 0,
  ttl = tonumber(ARGV[7]), publish = ARGV[12], channel = ARGV[15],
}, seq + count, chunks, finish, '')
return {'ok', 0, 0, place(attempt, ARGV[2], seq + count, ARGV[14], finish), unheard}
