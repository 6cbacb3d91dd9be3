-- A person wants a picture forgotten: its job goes with all that is kept of it, and its request with the last of its jobs.
-- One that has not ended goes soon after its end.
--
-- Keys  blob, failed, file, history, job, open, request, starred, stored
-- ARGV  1 job  2 the person
-- Returns 1: it is gone, 2: it goes when it has ended, 0: it is not theirs
local id, user = ARGV[1], ARGV[2]
local f = fields(id, 'user', 'request', 'state', 'told')
if f.user ~= user then return 0 end
redis.call('ZREM', P .. 'starred:' .. user, id)
if not has_ended(f) then
  redis.call('HSET', job_key(id), 'forget', '1')
  return 2
end
redis.call('DEL', job_key(id), P .. 'blob:' .. id, P .. 'file:' .. id, P .. 'stored:' .. id)
redis.call('ZREM', P .. 'failed', id)
local request = P .. 'request:' .. f.request
local kept, longest = 0, -2
for other in string.gmatch(redis.call('HGET', request, 'jobs') or '', '[^,]+') do
  local left = redis.call('TTL', job_key(other))
  -- -1: it has not ended, or is a favourite.
  if left == -1 then return 1 end
  if left >= 0 then kept, longest = kept + 1, math.max(longest, left) end
end
if kept > 0 then
  redis.call('EXPIRE', request, longest)
  return 1
end
redis.call('DEL', request)
redis.call('ZREM', P .. 'open', f.request)
redis.call('ZREM', P .. 'history:' .. user, f.request)
return 1
