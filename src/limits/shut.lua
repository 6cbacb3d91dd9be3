-- Somebody told us to stay away: shut a gate for every process.
--
-- KEYS[1]  the prefix P (see take.lua)
-- Keys  gate
-- ARGV  1 gate's name  2 ms from now
local key = KEYS[1] .. 'gate:' .. ARGV[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local closed = math.max(tonumber(redis.call('HGET', key, 'closed') or '0'), now + ARGV[2])
redis.call('HSET', key, 'closed', closed)
redis.call('PEXPIRE', key, closed - now + 3600000)
return closed
