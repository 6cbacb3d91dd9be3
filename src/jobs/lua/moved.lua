-- A job is shown in another message now: its placeholder was deleted and a new one sent.
--
-- Keys  request
-- ARGV  1 request  2 index of the job, from 0  3 message id
-- Returns 1; 0 where the request is gone, or an album has no messages (its group has moved): one of its tiles alone does not count
local key = P .. 'request:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 0 end
local ids = {}
for id in string.gmatch(redis.call('HGET', key, 'messages') or '', '[^,]+') do ids[#ids + 1] = id end
if #ids == 0 and string.find(redis.call('HGET', key, 'jobs') or '', ',') then return 0 end
ids[tonumber(ARGV[2]) + 1] = ARGV[3]
redis.call('HSET', key, 'messages', table.concat(ids, ','))
return 1
