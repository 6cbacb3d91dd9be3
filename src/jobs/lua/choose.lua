-- The person says how they wait: watching, or to be told later. No job loses its place by it.
--
-- Keys  job, open, request
-- ARGV  1 request  2 user  3 choice: wait (while a job of it is in the line) | later (while one has no picture yet)
-- Returns 1; 0 when it is too late for that; -1 when it is not theirs.
local key = P .. 'request:' .. ARGV[1]
local r = redis.call('HMGET', key, 'user', 'jobs')
if r[1] ~= ARGV[2] then return -1 end
local done = 0
for id in string.gmatch(r[2], '[^,]+') do
  local f = fields(id, 'state', 'created', 'story')
  if f.state == 'waiting' or (ARGV[3] == 'later' and (f.state == 'submitting' or f.state == 'running')) then
    redis.call('HSET', job_key(id), 'story', noted(f.story, 'chose:' .. ARGV[3], f.created))
    done = 1
  end
end
if done == 1 then
  redis.call('HSET', key, 'chosen', ARGV[3])
  -- Nobody looks at the placeholder: it changes once more when its picture comes.
  if ARGV[3] == 'later' then redis.call('ZREM', P .. 'open', ARGV[1]) end
end
return done
