-- Somebody told us to stay away: shut a gate for every process. The turns reserved at it move behind the closure.
--
-- KEYS[1]  the prefix P (see take.lua)
-- Keys  gate
-- ARGV  1 gate's name  2 ms from now
local key = KEYS[1] .. 'gate:' .. ARGV[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + t[2] / 1000
local until_ms = math.ceil(now) + ARGV[2]
local f = redis.call('HMGET', key, 'closed', 'next', 'lost', 'promised')
local from = math.max(tonumber(f[1] or '0'), math.floor(now))
if until_ms > from then
  local longer, line = until_ms - from, tonumber(f[2] or '0')
  if line > now then line = line + longer end
  redis.call(
    'HSET', key, 'closed', until_ms, 'next', string.format('%.3f', line),
    'lost', string.format('%.0f', tonumber(f[3] or '0') + longer),
    'promised', string.format('%.0f', tonumber(f[4] or '0') + longer)
  )
  redis.call('PEXPIRE', key, math.ceil(math.max(line - now, ARGV[2])) + IDLE)
end
return until_ms
