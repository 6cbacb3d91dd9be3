-- The circuit breaker of a gate: failures in a row open it, one call at a time tries whether it closes.
--
-- KEYS[1]  the prefix P (see take.lua). Fields of P gate:<name> used here:
--   fails   failures in a row while the breaker is closed
--   trips   times it opened since a call last went well
--   open    "1" from the first trip until a call goes well; half open while `closed` is over
--   probe   "1" while a call tries
-- Keys  gate
-- ARGV  1 gate's name  2 "failed" | "passed" | "tries" (the trial goes on)  3 failures that open it
--       4 ms of the first pause, or for which the trial keeps others out  5 ms of the longest
-- Returns 1 if this opened it, -1 if this closed it, 0 otherwise.
local IDLE = 7200000
local key = KEYS[1] .. 'gate:' .. ARGV[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local f = redis.call('HMGET', key, 'fails', 'trips', 'open', 'closed', 'probe')
if ARGV[2] == 'tries' then
  if f[3] == '1' and f[5] then redis.call('HSET', key, 'closed', math.max(tonumber(f[4] or '0'), now + ARGV[4])) end
  return 0
end
if ARGV[2] == 'passed' then
  redis.call('HDEL', key, 'fails', 'trips', 'open', 'probe')
  if f[3] == '1' then redis.call('HDEL', key, 'closed') return -1 end
  return 0
end
local fails, trips = tonumber(f[1] or '0') + 1, tonumber(f[2] or '0')
local away = tonumber(f[4] or '0') - now
-- While it is open, failures of calls that were under way before say nothing new.
local probe = f[3] == '1' and redis.call('HDEL', key, 'probe') == 1
if f[3] == '1' and not probe and away > 0 then return 0 end
if not probe and fails < tonumber(ARGV[3]) then
  redis.call('HSET', key, 'fails', fails)
  redis.call('PEXPIRE', key, IDLE)
  return 0
end
local pause = math.min(ARGV[4] * 2 ^ math.min(trips, 20), tonumber(ARGV[5]))
redis.call('HSET', key, 'fails', 0, 'trips', trips + 1, 'open', 1, 'closed', math.max(now + pause, probe and 0 or now + away))
redis.call('PEXPIRE', key, IDLE)
return 1
