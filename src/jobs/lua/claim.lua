-- Take a job for one step. Refused (empty answer) when the job is not at that step or somebody holds it.
--
-- ARGV  1 job  2 step: submit | deliver  3 holder  4 lease, ms  5 attempt (span of this attempt, for a successor to close)
-- Returns the job's fields and values; where an earlier attempt was lost, its holder under "lost" and its span under "lost_attempt".
local id, step = ARGV[1], ARGV[2]
local f = fields(id, 'state', 'holder', 'told', 'created', 'story', 'attempt', 'lost')
local open = (step == 'submit' and f.state == 'submitting')
  or (step == 'deliver' and (f.state == 'ready' or f.state == 'delivering'
    or ((f.state == 'failed' or f.state == 'cancelled') and f.told == '0')))
if not open or leased(id, f.holder) then return {} end
if f.holder ~= '' then f.lost = f.holder end
redis.call('HINCRBY', job_key(id), 'fence', 1)
redis.call('HDEL', job_key(id), 'lost')
if step == 'submit' and f.lost ~= '' then redis.call('HINCRBY', job_key(id), 'unknown', 1) end
redis.call('HINCRBY', job_key(id), step == 'submit' and 'tries' or 'deliveries', 1)
if f.state == 'ready' then
  move(id, 'delivering', tonumber(f.created), f.story, 'holder', ARGV[3], 'attempt', ARGV[5])
else
  redis.call('HSET', job_key(id), 'holder', ARGV[3], 'attempt', ARGV[5])
end
due(id, NOW + ARGV[4])
local out = redis.call('HGETALL', job_key(id))
out[#out + 1] = 'lost'; out[#out + 1] = f.lost
out[#out + 1] = 'lost_attempt'; out[#out + 1] = f.lost ~= '' and f.attempt or ''
out[#out + 1] = 'now'; out[#out + 1] = tostring(NOW)
return out
