-- A step whose process died left a span behind. The process's spans on disk and the job's next step both know of
-- it: the first to say so writes it, and may say so again.
--
-- Keys  lost
-- ARGV  1 span id  2 who says so: step | disk  3 s for which that is remembered
-- Returns 1 to the first, 0 to the other.
local key = P .. 'lost:' .. ARGV[1]
return (redis.call('SET', key, ARGV[2], 'NX', 'EX', ARGV[3]) or redis.call('GET', key) == ARGV[2]) and 1 or 0
