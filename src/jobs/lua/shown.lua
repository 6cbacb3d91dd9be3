-- A change of a placeholder has arrived: what it says now, and since when. Where an outcome was told meanwhile the change
-- may hide it, and it is due to be told once more.
--
-- Keys  request
-- ARGV  1 request  2 what it says  3 the mark of that change
-- Returns 1; 0 where it may hide an outcome
local key = P .. 'request:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('HSET', key, 'shown', ARGV[2], 'shown_at', NOW)
if open_jobs(ARGV[1]) == 0 then
  redis.call('HDEL', key, ARGV[3])
  due('r:' .. ARGV[1], NOW)
  return 0
end
local ids = redis.call('HGET', key, 'jobs')
-- Of one picture the outcome may be on its way just now: then its end finds the mark.
if not string.find(ids, ',') then
  local state = fields(ids, 'state').state
  if state ~= 'waiting' and state ~= 'submitting' and state ~= 'running' then return 0 end
end
redis.call('HDEL', key, ARGV[3])
return 1
