-- Not a script by itself: prepended to the scripts that enter streams in the index, which is
-- advisory: whatever Redis refuses here, a stream begins and ends all the same.

-- Enter a stream in one part of the index, which goes when it has not been used for 30 days.
local function list(key, at, name)
  redis.pcall('ZADD', key, at, name)
  redis.pcall('PEXPIRE', key, 2592000000)
end

-- The stream whose state is kept in this key.
local function name_of(state)
  return string.match(state, '{([^{}]*)}:m$')
end

-- Enter the stream of KEYS[1] in the parts that KEYS names, from the one of that number on.
local function enter(first, at)
  local name = name_of(KEYS[1])
  for i = first, #KEYS do list(KEYS[i], at, name) end
end

-- Note what the application says of a stream: its task, labels, and how long it is kept.
local function about(state, task, labels, kept)
  redis.call('HSET', state, 'tn', task)
  if labels ~= '' then redis.call('HSET', state, 'lb', labels) end
  if kept ~= '0' then redis.call('HSET', state, 'kt', kept) end
end
