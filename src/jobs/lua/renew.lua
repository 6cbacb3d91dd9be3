-- Keep the leases of many jobs that one process is working on.
--
-- ARGV  1 lease, ms; then pairs: job, fence
-- Returns the ids that are no longer held: cancelled or taken over.
local lost = {}
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local f = redis.call('HMGET', job_key(id), 'fence', 'holder')
  if f[1] == ARGV[i + 1] and (f[2] or '') ~= '' then
    due(id, NOW + ARGV[1])
  else
    lost[#lost + 1] = id
  end
end
return lost
