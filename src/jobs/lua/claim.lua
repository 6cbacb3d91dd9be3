-- Take a job for one step. Refused (empty answer) when the job is not at that step or somebody holds it.
--
-- Keys  job, request
-- ARGV  1 job  2 step: submit | deliver  3 holder  4 lease, ms  5 attempt (its span: whoever takes
--   over a lost attempt ends that span, and a claim that is repeated is recognised by it)
-- Returns the job as `told` gives it, where an earlier attempt was lost with its holder under "lost"; for deliver
--   behind it the request's fields and values.
local id, step = ARGV[1], ARGV[2]
local f = fields(id, 'attempt', 'replaces', unpack(RECORD))
local function answer(attempt)
  local out = {told(f, attempt)}
  if step == 'deliver' then out[2] = redis.call('HGETALL', P .. 'request:' .. f.request) end
  return out
end
local open = (step == 'submit' and f.state == 'submitting')
  or (step == 'deliver' and (f.state == 'ready' or f.state == 'delivering'
    or ((f.state == 'failed' or f.state == 'cancelled') and f.told == '0')))
if not open then return {} end
if leased(id, f.holder) then
  if f.attempt == '' or f.attempt ~= ARGV[5] or f.holder ~= ARGV[3] then return {} end
  local of, holder, attempt = string.match(f.replaces, '^(%S*) (%S*) (%S*)$')
  if of ~= f.attempt then holder, attempt = '', '' end
  f.lost = holder
  return answer(attempt)
end
if f.lost ~= '' then redis.call('HDEL', job_key(id), 'lost') end
if f.holder ~= '' then f.lost = f.holder end
local count = step == 'submit' and 'tries' or 'deliveries'
f.fence, f.holder, f[count] = f.fence + 1, ARGV[3], (tonumber(f[count]) or 0) + 1
local changed = {'fence', f.fence, count, f[count], 'holder', f.holder, 'attempt', ARGV[5]}
if step == 'submit' and f.lost ~= '' then
  f.unknown = (tonumber(f.unknown) or 0) + 1
  changed[9], changed[10] = 'unknown', f.unknown
end
if f.state == 'ready' then
  f.state, f.story = 'delivering', noted(f.story, 'delivering', f.created)
  changed[#changed + 1], changed[#changed + 2] = 'state', f.state
  changed[#changed + 1], changed[#changed + 2] = 'story', f.story
end
if f.lost ~= '' then
  changed[#changed + 1], changed[#changed + 2] = 'replaces', ARGV[5] .. ' ' .. f.lost .. ' ' .. f.attempt
end
redis.call('HSET', job_key(id), unpack(changed))
due(id, NOW + ARGV[4])
return answer(f.lost ~= '' and f.attempt or '')
