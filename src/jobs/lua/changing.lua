-- A change of a placeholder goes out now; until `shown` nobody knows whether and when it arrives. None goes out once the
-- request has ended: it could hide how.
--
-- Keys  request
-- ARGV  1 request  2.. marks to set
-- Returns 1; 0 when it has ended
if open_jobs(ARGV[1]) == 0 then return 0 end
for i = 2, #ARGV do redis.call('HSET', P .. 'request:' .. ARGV[1], ARGV[i], 1) end
return 1
