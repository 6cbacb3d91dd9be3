-- Generations that go on: give each its next look and let it go.
--
-- ARGV  quadruples: job, fence, ms until the next look, progress (0..1 or empty)
-- Returns the ids that were no longer ours.
local lost, rows = {}, {}
for i = 1, #ARGV, 4 do
  local id = ARGV[i]
  local f = fields(id, 'state', 'fence', 'deadline', 'polls', 'hurried')
  if f.state == 'running' and f.fence == ARGV[i + 1] then
    redis.call('HSET', job_key(id), 'holder', '', 'progress', ARGV[i + 3], 'polls', (tonumber(f.polls) or 0) + 1)
    local n = #rows
    rows[n + 1] = f.hurried ~= '' and NOW or math.min(NOW + ARGV[i + 2], tonumber(f.deadline))
    rows[n + 2] = id
    if f.hurried ~= '' then redis.call('HDEL', job_key(id), 'hurried') end
  else
    lost[#lost + 1] = id
  end
end
many('ZADD', P .. 'due', rows)
return lost
