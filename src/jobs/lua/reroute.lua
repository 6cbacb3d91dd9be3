-- Another provider makes the picture: a job leaves its provider's slot or line for the other's line, where its turn is next.
--
-- Keys  job, line, slots, tags
-- ARGV  1 job  2 fence  3 the other provider  4 spec (JSON)  5 wake (JSON)  6 cap of the provider it leaves  7 cap of the other
--       8 JSON: costs, caps (spending.Charge)  9 what the span of its generation tells (JSON)
-- Returns {1, released…} (only {1} when it is called again), or {0} when the job is no longer ours or that costs too much.
local id, to = ARGV[1], ARGV[3]
local f = fields(id, 'state', 'fence', 'holder', 'created', 'story', 'provider', 'class', 'deadline', 'failovers',
  'generation', 'spec', 'user', 'charge', 'unknown', 'lost')
if let_go(f, ARGV[2]) and f.provider == to then return {1} end
if f.fence ~= ARGV[2] or (f.state ~= 'waiting' and f.state ~= 'submitting' and f.state ~= 'running') then return {0} end
if not recharge(id, f, to, cjson.decode(ARGV[8])) then return {0} end
if f.state == 'waiting' then leave_line(id, f.provider, f.user, tonumber(f.class)) end
owe_generation(id, f, ARGV[9])
redis.call('SREM', P .. 'slots:' .. f.provider, id)
redis.call('HDEL', job_key(id), 'ticket', 'generation', 'accepted', 'tries', 'polls', 'progress', 'ahead', 'lost')
move(id, 'waiting', f.created, noted(f.story, 'failover:' .. to, f.created),
  'provider', to, 'spec', ARGV[4], 'wake', ARGV[5], 'holder', '', 'fence', f.fence + 1,
  'failovers', (f.failovers == '' and f.provider or f.failovers) .. ' ' .. to)
-- It has waited its turn once: it stands in the round that is now, before the next.
local round = tonumber(redis.call('HGET', P .. 'tags:' .. to, 'now:' .. f.class) or '0')
redis.call('ZADD', P .. 'line:' .. to, tonumber(f.class) * CLASS + round, id)
due(id, tonumber(f.deadline))
local out = {1}
for _, r in ipairs(release(f.provider, tonumber(ARGV[6]))) do out[#out + 1] = r end
for _, r in ipairs(release(to, tonumber(ARGV[7]))) do out[#out + 1] = r end
return out
