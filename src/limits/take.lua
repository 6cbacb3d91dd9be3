-- Take all gates of a step, or none, in one call (GCRA, Redis's clock).
--
-- KEYS[1]  the prefix P. Under it:
--   P gate:<name>      HASH    next: ms at which the gate's bucket is empty again, reserved turns included;
--                              used: the same of the calls that really went; closed: ms until which it is (was last)
--                              shut; lost: ms of all closures so far, by which reserved turns have moved; promised:
--                              ms until which there may be reserved turns; kept: ms until which the hash does not
--                              expire; open: see breaker.lua
--   P pass:<ticket>    STRING  ms at which a turn reserved earlier begins, then each gate's `lost` at that time
-- Keys  gate, pass
-- ARGV  1 JSON: gates [{n name, t ms a call, b calls at once, w ms of waiting accepted at this gate,
--               p ms of the call that the caller has taken already}], ticket (a turn to use or to reserve),
--               lasting (the caller comes again with the ticket when it is refused), again (it has a turn reserved),
--               wait (ms of waiting that the caller accepts)
-- Returns {ms to wait, gate that decided, what then}. 1: go; the turn is taken. 2: ask again; it is reserved, for a
-- call that is counted long before it goes is forgotten by then, and a closure in between must hold it. 0: refused;
-- nothing was taken, but with a lasting ticket the turn is reserved.
--
-- Reserved turns move behind a closure in their order. One that was missed, so that its call would now come on top of
-- others', is taken anew at the end of the line.
local P = KEYS[1]
local PROBE = 60000
-- How much later than its turn a call may come without a new one: what a wake-up takes. Beyond it a call goes late
-- only where the gate has room.
local LATE = 250
local a = cjson.decode(ARGV[1])
local t = redis.call('TIME')
local now = t[1] * 1000 + t[2] / 1000
local pass = P .. 'pass:' .. a.ticket

local line, ahead, used, closed, lost, half, promised, kept_until = {}, {}, {}, {}, {}, {}, {}, {}
local broken, reserved = false, false
for i, g in ipairs(a.gates) do
  local f = redis.call('HMGET', P .. 'gate:' .. g.n, 'next', 'used', 'closed', 'lost', 'open', 'promised', 'kept')
  closed[i], lost[i], half[i] = tonumber(f[3] or '0'), tonumber(f[4] or '0'), f[5] == '1'
  promised[i], kept_until[i] = tonumber(f[6] or '0'), tonumber(f[7] or '0')
  used[i] = math.max(tonumber(f[2] or '0') - g.p, now)
  if half[i] then
    broken = broken or closed[i] > now
  else
    -- Who shut the gate counted our calls: it opens with an empty bucket.
    used[i] = math.max(used[i], closed[i] + (g.b - 1) * g.t)
  end
  ahead[i] = tonumber(f[1] or '0')
  reserved = reserved or promised[i] > now
end
reserved = reserved and (a.lasting or a.again) and redis.call('GET', pass)
for i, g in ipairs(a.gates) do
  -- A reserved turn has replaced what was taken already.
  line[i] = math.max(ahead[i] - (reserved and 0 or g.p), used[i])
end

-- The reserved turn, moved by the closures since; nil if there is none that can be kept.
local function kept()
  if not reserved then return nil end
  local parts = {}
  for part in string.gmatch(reserved, '%S+') do parts[#parts + 1] = tonumber(part) end
  local moved = 0
  for i in ipairs(a.gates) do moved = math.max(moved, lost[i] - (parts[i + 1] or lost[i])) end
  local turn = parts[1] + moved
  for i, g in ipairs(a.gates) do
    if closed[i] > now and turn + 1 < closed[i] then return nil end
    if used[i] + g.t - g.b * g.t - LATE > math.max(turn, now) then return nil end
  end
  return turn
end

-- A half-open breaker lets one call through and shuts the gate behind it until that call is back.
local function probe()
  for i, g in ipairs(a.gates) do
    if half[i] then redis.call('HSET', P .. 'gate:' .. g.n, 'closed', math.floor(now) + PROBE, 'probe', 1) end
  end
end

-- Also of a call that sleeps until its turn: counted at its own time it would fill the bucket from now until then,
-- over turns that others have reserved in between.
local function after_call(i)
  return string.format('%.3f', used[i] + a.gates[i].t)
end

local turn = not broken and kept()
if turn then
  local left = turn - now
  local refused = left > 1 and left > a.wait
  if refused or left > LATE then
    redis.call('PEXPIRE', pass, math.ceil(left) + UNUSED)
    return {math.ceil(left), 'turn', refused and 0 or 2}
  end
  redis.call('DEL', pass)
  for i, g in ipairs(a.gates) do redis.call('HSET', P .. 'gate:' .. g.n, 'used', after_call(i)) end
  probe()
  return {left > 1 and math.ceil(left) or 0, '', 1}
end

local wait, by, refused = 0, '', false
for i, g in ipairs(a.gates) do
  local free = math.max(closed[i], line[i] + g.t - g.b * g.t) - now
  if broken and reserved then free = closed[i] - now end
  if math.ceil(free) > g.w then refused = true end
  if free > wait then wait, by = free, g.n end
end
-- How long a breaker stays open nobody knows: no turn is reserved behind it.
if broken and (reserved or refused) or refused and not a.lasting then return {math.ceil(wait), by, 0} end
local later = refused or wait > LATE
local lost_now = ''
for i, g in ipairs(a.gates) do
  local key = P .. 'gate:' .. g.n
  local after = line[i] + g.t
  local changed = {'next', string.format('%.3f', after)}
  if later then
    changed[3], changed[4] = 'promised', string.format('%.0f', math.max(promised[i], math.ceil(now + wait) + UNUSED))
  else
    changed[3], changed[4] = 'used', after_call(i)
  end
  -- Seldom put off: it says itself for how long it was.
  if kept_until[i] < math.max(after, now) + IDLE / 2 then
    local keep = math.ceil(math.max(after - now, 1000)) + IDLE
    changed[5], changed[6] = 'kept', string.format('%.0f', now + keep)
    redis.call('HSET', key, unpack(changed))
    redis.call('PEXPIRE', key, keep)
  else
    redis.call('HSET', key, unpack(changed))
  end
  lost_now = lost_now .. string.format(' %.0f', lost[i])
end
if later then
  redis.call('SET', pass, string.format('%.0f', now + wait) .. lost_now, 'PX', math.ceil(wait) + UNUSED)
  return {math.ceil(wait), by, refused and 0 or 2}
end
if reserved then redis.call('DEL', pass) end
probe()
return {math.ceil(wait), by, 1}
