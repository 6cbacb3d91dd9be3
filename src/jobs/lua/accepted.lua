-- The provider took the job: submitting → running. The ticket is stored before anything else happens. A synchronous
-- call that was answered with a ticket after all: running → running, from now on to be polled.
--
-- Keys  hint, job, ticket
-- ARGV  1 job  2 fence  3 ticket (JSON; empty: a synchronous call is about to start and its holder keeps the lease)
--       4 ms until the first poll, or the lease  5 generation span  6 holder (empty once there is a ticket)
--       7 "1": the provider was asked to call back
-- Returns 1 (also when it is called again), or 0 when the job is no longer ours (cancelled, or taken over).
local id = ARGV[1]
local f = fields(id, 'state', 'fence', 'created', 'story', 'deadline', 'ticket', 'provider')
if f.state == 'running' and f.fence == ARGV[2] and f.ticket == ARGV[3] then return 1 end
local answered = f.state == 'running' and f.ticket == '' and ARGV[3] ~= ''
if f.fence ~= ARGV[2] or not (f.state == 'submitting' or answered) then return 0 end
if answered then
  redis.call('HSET', job_key(id), 'ticket', ARGV[3], 'holder', '')
else
  move(id, 'running', f.created, f.story, 'ticket', ARGV[3], 'generation', ARGV[5], 'holder', ARGV[6], 'accepted', NOW)
end
due(id, math.min(NOW + ARGV[4], tonumber(f.deadline)))
if ARGV[3] ~= '' and ARGV[7] == '1' then
  local task = f.provider .. ':' .. (cjson.decode(ARGV[3]).external_id or '')
  redis.call('SET', P .. 'ticket:' .. task, id, 'PX', math.max(1000, f.deadline - NOW + 60000))
  if redis.call('DEL', P .. 'hint:' .. task) == 1 then due(id, NOW) end
end
return 1
