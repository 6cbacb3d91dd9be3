-- Take all gates of a call, or none (GCRA, by Redis's clock).
--
-- KEYS[1]  the prefix P. Under it:
--   P gate:<name>  HASH  used: ms at which the gate's bucket is empty again, after the calls that went; line: the same
--                        with those that sleep until their turn; told: ms after which the next refused call is told
--                        to come; closed: ms until which the gate is (was last) shut, whatever its breaker; open, probe: see breaker.lua
-- Keys  gate
-- ARGV  1 JSON: gates [{n name, t ms a call, b calls at once, w ms worth waiting here, p it has slept for its turn here}], spread
--         (refused calls come when they are told to: each is told another time), trial (ms for which a half-open breaker
--         lets nobody else through)
-- Returns {ms, gate, what}. 1: all are taken, go after so many ms; 3: as the trial of that gate's breaker. 2: it has a turn in this gate's line; ask again after
-- so many ms: the call is counted when it goes, should its process be late or a gate be shut by then. 0: refused,
-- nothing was taken.
local P, IDLE = KEYS[1], 3600000
-- How much earlier than it goes a call may be counted.
local EARLY = 250
local a = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000

local function write(g, at, ...)
  redis.call('HSET', g.key, ...)
  redis.call('PEXPIRE', g.key, math.ceil(math.max(at - now, 0)) + IDLE)
end
local function ms_of(at) return string.format('%.3f', at) end

local wait, last, refused = 0, nil, nil
for _, g in ipairs(a.gates) do
  g.key = P .. 'gate:' .. g.n
  local f = redis.call('HMGET', g.key, 'used', 'closed', 'told', 'open', 'line')
  g.closed, g.told, g.half = tonumber(f[2] or '0'), tonumber(f[3] or '0'), f[4] == '1'
  g.used = math.max(tonumber(f[1] or '0'), now)
  -- Who shut the gate counted our calls: it opens with an empty bucket.
  if not g.half then g.used = math.max(g.used, g.closed + (g.b - 1) * g.t) end
  g.line = math.max(tonumber(f[5] or '0'), g.used)
  g.free = math.max(g.closed, (g.p and g.used or g.line) + g.t - g.b * g.t)
  local ms = math.ceil(g.free - now)
  if ms > g.w and not (refused and refused.free > g.free) then refused = g end
  if ms > wait then wait, last = ms, g end
end

if refused then
  local at = refused.free
  -- How long a breaker stays open nobody knows.
  if a.spread and not (refused.half and refused.closed > now) then
    at = math.max(at, refused.told)
    write(refused, at, 'told', ms_of(at + refused.t))
  end
  return {math.ceil(at - now), refused.n, 0}
end
if wait > EARLY then
  if not last.p then write(last, last.line, 'line', ms_of(last.line + last.t)) end
  return {wait, last.n, 2}
end
local what, tried = 1, ''
for _, g in ipairs(a.gates) do
  local line = g.line + (g.p and 0 or g.t)
  write(g, line, 'used', ms_of(g.used + g.t), 'line', ms_of(line))
  -- A half-open breaker lets one call through and shuts the gate behind it until that call is back. Whoever makes it
  -- keeps it shut ("tries" in breaker.lua); if they die, the next may try soon.
  if g.half then
    redis.call('HSET', g.key, 'closed', math.floor(now) + wait + a.trial, 'probe', 1)
    what, tried = 3, g.n
  end
end
return {wait, tried, what}
