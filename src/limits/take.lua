-- Take all gates of a call, or none (GCRA, by Redis's clock).
--
-- KEYS[1]  the prefix P. Under it:
--   P gate:<name>  HASH  used: ms at which the gate's bucket is empty again; closed: ms until which the gate is (was
--                        last) shut; told: ms after which the next refused call is told to come; open, probe: see breaker.lua
-- Keys  gate
-- ARGV  1 JSON: gates [{n name, t ms a call, b calls at once, w ms worth waiting here, p it is taken already}], spread
--         (refused calls come when they are told to: each is told another time)
-- Returns {ms, gate, what}. 1: all are taken, go after so many ms. 2: this gate is taken; ask again after so many ms,
-- when the others count the call too and none has been shut in between. 0: refused, nothing was taken.
local P, IDLE, PROBE = KEYS[1], 3600000, 60000
-- How much earlier than it goes a call may be counted.
local EARLY = 250
local a = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000

local function write(g, field, at)
  redis.call('HSET', g.key, field, string.format('%.3f', at))
  redis.call('PEXPIRE', g.key, math.ceil(math.max(at - now, 0)) + IDLE)
end

local wait, last, refused = 0, nil, nil
for _, g in ipairs(a.gates) do
  g.key = P .. 'gate:' .. g.n
  local f = redis.call('HMGET', g.key, 'used', 'closed', 'told', 'open')
  g.closed, g.told, g.half = tonumber(f[2] or '0'), tonumber(f[3] or '0'), f[4] == '1'
  g.used = math.max(tonumber(f[1] or '0'), now)
  -- Who shut the gate counted our calls: it opens with an empty bucket.
  if not g.half then g.used = math.max(g.used, g.closed + (g.b - 1) * g.t) end
  -- What was taken before a closure is of no use in it.
  g.taken = g.p and g.closed <= now
  g.free = g.taken and now or math.max(g.closed, g.used + g.t - g.b * g.t)
  local ms = math.ceil(g.free - now)
  if ms > g.w and not (refused and refused.free > g.free) then refused = g end
  if ms > wait then wait, last = ms, g end
end

if refused then
  local at = refused.free
  -- How long a breaker stays open nobody knows.
  if a.spread and not (refused.half and refused.closed > now) then
    at = math.max(at, refused.told)
    write(refused, 'told', at + refused.t)
  end
  return {math.ceil(at - now), refused.n, 0}
end
if wait > EARLY then
  write(last, 'used', last.used + last.t)
  return {wait, last.n, 2}
end
for _, g in ipairs(a.gates) do
  if not g.taken then write(g, 'used', g.used + g.t) end
  -- A half-open breaker lets one call through and shuts the gate behind it until that call is back.
  if g.half then redis.call('HSET', g.key, 'closed', math.floor(now) + PROBE, 'probe', 1) end
end
return {wait, '', 1}
