-- A provider called back: the generation it names is looked at now instead of at its next poll.
--
-- Keys  hint, job, ticket
-- ARGV  1 provider  2 task  3 s for which a task that nobody knows yet is remembered
-- Returns "due" (or said already), "early" (its ticket is not stored yet), or "over" (its job is past running).
local task = ARGV[1] .. ':' .. ARGV[2]
local id = redis.call('GET', P .. 'ticket:' .. task)
if not id then
  redis.call('SET', P .. 'hint:' .. task, '1', 'EX', ARGV[3])
  return 'early'
end
local f = fields(id, 'state', 'holder')
if f.state ~= 'running' then return 'over' end
if leased(id, f.holder) then
  -- A poll is under way and may have asked just before the end.
  redis.call('HSET', job_key(id), 'hurried', '1')
else
  due(id, NOW)
end
return 'due'
