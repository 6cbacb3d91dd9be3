-- Somebody told us to stay away: shut a gate for every process.
--
-- KEYS[1]  the prefix P (see take.lua)
-- ARGV  1 gate's name  2 ms from now
local key = KEYS[1] .. 'gate:' .. ARGV[1]
local t = redis.call('TIME')
local until_ms = t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[2]
if until_ms > tonumber(redis.call('HGET', key, 'closed') or '0') then
  redis.call('HSET', key, 'closed', until_ms)
  redis.call('PEXPIRE', key, ARGV[2] + 3600000)
end
return until_ms
