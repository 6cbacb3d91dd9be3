-- Generations that go on: give each its next look and let it go.
--
-- ARGV  quadruples: job, fence, ms until the next look, progress (0..1 or empty)
-- Returns the ids that were no longer ours.
local lost = {}
for i = 1, #ARGV, 4 do
  local id = ARGV[i]
  local f = redis.call('HMGET', job_key(id), 'state', 'fence', 'deadline', 'hurried')
  if f[1] == 'running' and f[2] == ARGV[i + 1] then
    redis.call('HSET', job_key(id), 'holder', '', 'progress', ARGV[i + 3])
    redis.call('HINCRBY', job_key(id), 'polls', 1)
    due(id, f[4] and NOW or math.min(NOW + ARGV[i + 2], tonumber(f[3])))
    if f[4] then redis.call('HDEL', job_key(id), 'hurried') end
  else
    lost[#lost + 1] = id
  end
end
return lost
