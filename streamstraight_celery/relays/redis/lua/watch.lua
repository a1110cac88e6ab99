-- How many readers a stream has, as the servers that they read from say.
-- KEYS 1 hash: server -> readers, a space, and until when (ms) that counts
-- ARGV 1 server that tells its own number ('': only asks)  2 that number  3 ms for which it counts
-- Answers: ok (number: readers on all servers)
-- Idempotent: what a server has told takes the place of what it told before.
local now = clock()
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
elseif ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. (now + ARGV[3]))
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
local readers = 0
local told = redis.call('HGETALL', KEYS[1])
for i = 1, #told, 2 do
  local number, ends = string.match(told[i + 1], '^(%d+) (%d+)$')
  if tonumber(ends) > now then
    readers = readers + number
  else
    redis.call('HDEL', KEYS[1], told[i])
  end
end
return {'ok', readers, 0, ''}
