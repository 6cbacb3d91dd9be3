-- A turn that was taken and not used is reserved for later: its step comes again without another place in the line.
--
-- KEYS[1]  the prefix P (see take.lua)
-- Keys  gate, pass
-- ARGV  1 ticket  2 ms from now  3.. per gate its name and the ms a call takes of it, as they were taken
local P = KEYS[1]
local t = redis.call('TIME')
local turn = t[1] * 1000 + math.ceil(t[2] / 1000) + ARGV[2]
local value = string.format('%.0f', turn)
for i = 3, #ARGV, 2 do
  local key = P .. 'gate:' .. ARGV[i]
  local f = redis.call('HMGET', key, 'lost', 'promised', 'used')
  value = value .. string.format(' %.0f', tonumber(f[1] or '0'))
  redis.call(
    'HSET', key, 'promised', string.format('%.0f', math.max(tonumber(f[2] or '0'), turn + UNUSED)),
    'used', string.format('%.3f', tonumber(f[3] or '0') - ARGV[i + 1])
  )
  -- The gate is remembered for as long as the turn.
  if redis.call('PTTL', key) < ARGV[2] + UNUSED then redis.call('PEXPIRE', key, ARGV[2] + UNUSED) end
end
redis.call('SET', P .. 'pass:' .. ARGV[1], value, 'PX', ARGV[2] + UNUSED)
return 1
