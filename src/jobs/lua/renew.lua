-- Keep the leases of many jobs that one process is working on.
--
-- Keys  due, job
-- ARGV  1 lease, ms; then triples: job, fence, progress (0..1 or empty)
-- Returns the ids that are no longer held: cancelled or taken over.
local lost, rows = {}, {}
for i = 2, #ARGV, 3 do
  local id = ARGV[i]
  local f = fields(id, 'fence', 'holder')
  if f.fence == ARGV[i + 1] and f.holder ~= '' then
    local n = #rows
    rows[n + 1], rows[n + 2] = NOW + ARGV[1], id
    if ARGV[i + 2] ~= '' then redis.call('HSET', job_key(id), 'progress', ARGV[i + 2]) end
  else
    lost[#lost + 1] = id
  end
end
many('ZADD', P .. 'due', rows)
return lost
