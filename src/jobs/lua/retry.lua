-- Put a held job back so that the same step runs again later: submitting and delivering stay that step's,
-- a running job (its generation came to nothing) goes back to submitting and keeps its slot.
--
-- Keys  job
-- ARGV  1 job  2 fence  3 ms until then  4 note for the story  5 "1": this try does not count
--       6 counter of the job that goes up by one (empty: none)  7 what the span of its generation tells (JSON)
-- Returns 1 (also when it is called again), or 0 when the job is no longer ours.
local id = ARGV[1]
local f = fields(id, 'state', 'fence', 'holder', 'created', 'story', 'told', 'provider', 'generation', 'spec', 'ticket')
if let_go(f, ARGV[2]) and (f.state == 'submitting' or f.state == 'ready') then return 1 end
if f.fence ~= ARGV[2] then return 0 end
local fence, story = f.fence + 1, noted(f.story, ARGV[4], f.created)
if f.state == 'running' then
  count_last_poll(id, f)
  owe_generation(id, f, ARGV[7])
  move(id, 'submitting', f.created, story, 'fence', fence, 'holder', '', 'ticket', '', 'generation', '',
    'progress', '', 'ahead', '')
elseif f.state == 'delivering' then
  move(id, 'ready', f.created, story, 'fence', fence, 'holder', '')
elseif f.state == 'submitting' or f.told == '0' then
  redis.call('HSET', job_key(id), 'fence', fence, 'holder', '', 'story', story)
else
  return 0
end
if ARGV[5] == '1' then
  local submits = f.state == 'submitting' or f.state == 'running'
  redis.call('HINCRBY', job_key(id), submits and 'tries' or 'deliveries', -1)
end
if ARGV[6] ~= '' then redis.call('HINCRBY', job_key(id), ARGV[6], 1) end
due(id, NOW + ARGV[3])
return 1
