-- A gate was closed before the step began: look again later. Costs no attempt; nobody held the job.
--
-- Keys  job
-- ARGV  1 job  2 ms until then  3 gate's name
-- Returns 1 if the job still waits for that step.
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
  if f.state == 'submitting' then at = math.min(at, tonumber(f.deadline)) end
  due(id, at)
  return 1
end
return 0
