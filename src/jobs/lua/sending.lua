-- A placeholder goes out now, and is counted: whether it arrived may never be known.
--
-- Keys  request
-- ARGV  1 request  2 "1": for one that was deleted
-- Returns 1; 0 where none is needed, as there is one or the request has ended
local key = P .. 'request:' .. ARGV[1]
local placed = redis.call('HEXISTS', key, 'messages') == 1
if (placed and ARGV[2] ~= '1') or open_jobs(ARGV[1]) == 0 then return 0 end
redis.call('HINCRBY', key, 'sendings', 1)
return 1
