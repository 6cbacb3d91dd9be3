-- A gate was closed before the step began: look again later. Costs no attempt; nobody held the job.
--
-- Keys  job
-- ARGV  1 job  2 ms until then  3 gate's name  4 ms before its deadline from which it is late
-- Returns 1 if the job still waits for that step, 2 if it is late for its submit by then.
local id = ARGV[1]
local f = fields(id, 'state', 'holder', 'story', 'created', 'limited', 'told', 'deadline')
if leased(id, f.holder) then return 0 end
if f.state == 'submitting' or f.state == 'ready' or f.state == 'delivering' or ((f.state == 'failed' or f.state == 'cancelled') and f.told == '0') then
  if f.limited ~= ARGV[3] then
    redis.call('HSET', job_key(id), 'limited', ARGV[3], 'story', noted(f.story, 'limited:' .. ARGV[3], f.created))
  end
  lose(id, f.holder)
  local at = NOW + ARGV[2]
  -- A gate may stay closed for longer than the person was promised to wait.
  local late = false
  if f.state == 'submitting' then
    local deadline = tonumber(f.deadline)
    at, late = math.min(at, deadline), at >= deadline - ARGV[4]
  end
  due(id, at)
  return late and 2 or 1
end
return 0
