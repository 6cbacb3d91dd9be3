-- A person makes a picture a favourite, which is kept with its request until they take that back.
--
-- Keys  job, request, starred
-- ARGV  1 job  2 s that it is kept from now as no favourite any more (empty: it is one)
-- Returns 1, or 0 when there is no such job.
local id = ARGV[1]
local f = fields(id, 'user', 'request', 'told')
if f.user == '' then return 0 end
local starred = P .. 'starred:' .. f.user
if ARGV[2] == '' then
  redis.call('ZADD', starred, NOW, id)
  redis.call('PERSIST', job_key(id))
  redis.call('PERSIST', P .. 'request:' .. f.request)
else
  redis.call('ZREM', starred, id)
  -- Else its end says how long it is kept.
  if f.told == '1' then
    redis.call('EXPIRE', job_key(id), ARGV[2])
    let_request_go(f.request, f.user, ARGV[2])
  end
end
return 1
