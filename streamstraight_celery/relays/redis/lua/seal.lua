-- Replace the log of a stream that has ended by deflated blocks, which come in one part or several.
-- KEYS 1 state  2 log  3 where the parts gather
-- ARGV 1 attempt  2 nonce  3 seq of the last chunk  4 how many blocks came before
--      5 index, with the last part: the seq of each block's last chunk, joined by spaces ('': more
--      parts follow)  6 ms for which parts wait for the next one  7... blocks
-- Answers: ok  duplicate (it is sealed already)  gap (an earlier part is lost: begin again)
--   fenced (it has not ended like that)  unknown
local state, log, parts = KEYS[1], KEYS[2], KEYS[3]
local m = redis.call('HMGET', state, 'a', 'n', 'q', 'e', 'D', 'Z', 'h', 'er')
if not m[1] then return {'unknown', 0, 0, ''} end
if m[1] ~= ARGV[1] or m[2] ~= ARGV[2] or m[3] ~= ARGV[3] or not m[4] or m[5] then
  return {'fenced', tonumber(m[1]), 0, ''}
end
if m[6] == m[1] then return {'duplicate', 0, 0, ''} end
local count = 0
for i = 7, #ARGV do count = redis.call('RPUSH', parts, ARGV[i]) end
if count ~= ARGV[4] + #ARGV - 6 then
  redis.call('UNLINK', parts)
  return {'gap', 0, 0, ''}
end
if ARGV[5] == '' then
  redis.call('PEXPIRE', parts, ARGV[6])
  return {'ok', 0, 0, ''}
end
redis.call('RPUSH', parts, ARGV[5])
redis.call('UNLINK', log)
redis.call('RENAME', parts, log)
local left = redis.call('PTTL', state)
if left >= 0 then redis.call('PEXPIRE', log, left) end
redis.call('HSET', state, 'Z', m[1])
-- Of interest only while a producer may come.
redis.call('HDEL', state, 'p', 'u', 'xd', 'cv', 'cq', 'ca')
if m[7] == '' then redis.call('HDEL', state, 'h') end
if m[8] == '' then redis.call('HDEL', state, 'er') end
return {'ok', 0, 0, ''}
