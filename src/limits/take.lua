-- Take all gates of a step, or none, in one call (GCRA, Redis's clock).
--
-- KEYS[1]  the prefix P. Under it:
--   P gate:<name>      HASH    next: ms at which the gate's bucket is empty again; closed: ms until which it is shut
--   P pass:<ticket>    STRING  ms at which a turn reserved earlier begins
-- ARGV  1 JSON: gates [{n name, t ms a call, b calls at once, w ms of waiting accepted at this gate}], ticket (a turn to use or to reserve; empty: none),
--               wait (ms of waiting that the caller accepts: within it the turn is taken now)
-- Returns {ms to wait, gate that decided, 1 to go after that wait}. 0 at the end: refused; nothing was taken, but with a
-- ticket the turn is reserved.
local P = KEYS[1]
local PROBE = 60000
local a = cjson.decode(ARGV[1])
local t = redis.call('TIME')
local now = t[1] * 1000 + t[2] / 1000
local pass = P .. 'pass:' .. a.ticket
local reserved = a.ticket ~= '' and redis.call('GET', pass)

local wait, by, shut, refused = 0, '', false, false
local state, half = {}, {}
for i, g in ipairs(a.gates) do
  local f = redis.call('HMGET', P .. 'gate:' .. g.n, 'next', 'closed', 'open')
  local closed = tonumber(f[2] or '0') - now
  state[i] = math.max(tonumber(f[1] or '0'), now)
  half[i] = f[3] == '1'
  if closed > g.w then refused = true end
  if closed > 0 and closed >= wait then wait, by, shut = closed, g.n, true end
  if not reserved then
    local full = state[i] + g.t - g.b * g.t - now
    if math.ceil(full) > g.w then refused = true end
    if full > wait then wait, by, shut = full, g.n, false end
  end
end

-- A half-open breaker lets one call through and shuts the gate behind it until that call is back.
local function probe()
  for i, g in ipairs(a.gates) do
    if half[i] then redis.call('HSET', P .. 'gate:' .. g.n, 'closed', math.floor(now) + PROBE, 'probe', 1) end
  end
end

if shut and (reserved or refused) then return {math.ceil(wait), by, 0} end
if reserved then
  local left = tonumber(reserved) - now
  if left > 1 then return {math.ceil(left), 'turn', left > a.wait and 0 or 1} end
  redis.call('DEL', pass)
  probe()
  return {0, '', 1}
end
if refused and a.ticket == '' then return {math.ceil(wait), by, 0} end
for i, g in ipairs(a.gates) do
  local key = P .. 'gate:' .. g.n
  redis.call('HSET', key, 'next', string.format('%.3f', state[i] + g.t))
  redis.call('PEXPIRE', key, math.ceil(math.max(state[i] + g.t - now, 1000)) + 3600000)
end
if not refused then probe() end
if refused then redis.call('SET', pass, string.format('%.0f', now + wait), 'PX', math.ceil(wait) + 60000) end
return {math.ceil(wait), by, refused and 0 or 1}
