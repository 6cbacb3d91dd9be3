-- Keep the leases of many jobs that one process is working on.
--
-- Keys  due
-- ARGV  1 lease, ms; then pairs: job, fence
-- Returns the ids that are no longer held: cancelled or taken over.
local lost, rows = {}, {}
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local f = fields(id, 'fence', 'holder')
  if f.fence == ARGV[i + 1] and f.holder ~= '' then
    local n = #rows
    rows[n + 1], rows[n + 2] = NOW + ARGV[1], id
  else
    lost[#lost + 1] = id
  end
end
many('ZADD', P .. 'due', rows)
return lost
