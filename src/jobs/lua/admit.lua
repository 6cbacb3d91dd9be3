-- Admission and creation of a request's jobs in one step: a crash can neither count a request that
-- was not admitted nor admit one that was not counted.
--
-- Keys  active, balance, cooling, counts, due, free, here, history, job, line, open, originals, pause, request, slots, spent, took, update, user, window
-- ARGV  1 JSON: update, request, user, provider, model, class, cap, rate_limit, rate_window (ms), max_active,
--               max_waiting, deadline (ms), near (ms before it, from when it is late), ttl (s), kept (the picture may come in the answer), tiers (by its name what is otherwise for a person of it), fields (of the request), jobs: [{id, spec, wake}],
--               charge: {costs, caps} (spending.Charge; of one job), uncapped (the person's cap does not bind),
--               forbidden (it has a word that is not drawn), through (a pause does not hold it back),
--               share (pictures a day that each person has for free; none: pictures are not sold),
--               hourly: [{who, most}] (pictures an hour that a group's admins allow one or `all` in it)
-- Returns {verdict, …}: "ok" request place-of-each-job… "|" released… ; "repeat" request ;
--         "blocked" ; "paused" why ; "rate" seconds ; "active" jobs ; "many" the most that may be asked for at once ;
--         "busy" waiting ; "slow": as busy, but fewer would not be refused ;
--         "full": Redis, or the store of pictures, has no room for it ;
--         "forbidden" strikes left: it has a word that is not drawn ; "cooling" seconds: after too many of these ;
--         "spent" or "spent-person" seconds: a cap of today's would be passed, so long until the next day ;
--         "unpaid" pictures that they have left: too few ;
--         "here" or "here-all" seconds: as many as the group's admins allow a person, or all, are asked for within the hour
local SAMPLE = 50 -- generations whose mean says how fast the line moves
local a = cjson.decode(ARGV[1])
local n = #a.jobs
local line = P .. 'line:' .. a.provider
local window, active = P .. 'window:' .. a.user, P .. 'active:' .. a.user

if a.update ~= '' then
  local before = redis.call('GET', P .. 'update:' .. a.update)
  if before then
    local left = string.match(before, '^forbidden:(%d+)$')
    return left and {'forbidden', tonumber(left)} or {'repeat', before}
  end
end
local person = redis.call('HMGET', P .. 'user:' .. a.user, 'blocked', 'tier', 'first', 'keep', 'rate', 'active')
if person[1] == '1' then return {'blocked'} end
local paused = not a.through and redis.call('GET', P .. 'pause')
if paused then return {'paused', paused} end
for name, value in pairs(a.tiers[person[2] or ''] or {}) do a[name] = value end
-- Limits of their own.
if (tonumber(person[5]) or 0) > 0 then a.rate_limit = tonumber(person[5]) end
if (tonumber(person[6]) or 0) > 0 then a.max_active = tonumber(person[6]) end
if a.uncapped ~= 1 then
  local cooling = redis.call('TTL', P .. 'cooling:' .. a.user)
  if cooling > 0 then return {'cooling', cooling} end
end
if a.forbidden then
  if a.fields.chat == '0' then return {'forbidden', STRIKES} end
  local left = strike(a.user)
  -- Said again it is no second strike.
  if a.update ~= '' then redis.call('SET', P .. 'update:' .. a.update, 'forbidden:' .. left, 'EX', 172800) end
  return {'forbidden', left}
end
local first = redis.call('ZRANGE', window, -a.rate_limit, -a.rate_limit, 'WITHSCORES')
if first[2] and tonumber(first[2]) > NOW - a.rate_window then
  return {'rate', math.ceil((tonumber(first[2]) + a.rate_window - NOW) / 1000)}
end
local SPAN = 3600000 -- ms of `hourly`
for _, h in ipairs(a.hourly) do
  local here = P .. 'here:' .. a.fields.chat .. ':' .. h.who
  if n > h.most then return {'many', h.most} end
  redis.call('ZREMRANGEBYSCORE', here, '-inf', NOW - SPAN)
  local over = redis.call('ZCARD', here) + n - h.most
  if over > 0 then
    local frees = redis.call('ZRANGE', here, over - 1, over - 1, 'WITHSCORES')[2]
    local wait = frees and tonumber(frees) + SPAN - NOW or SPAN
    return {h.who == 'all' and 'here-all' or 'here', math.ceil(wait / 1000)}
  end
end
local have = redis.call('ZCARD', active)
if n > a.max_active then return {'many', a.max_active} end
if have + n > a.max_active then return {'active', have} end
local waiting = redis.call('ZCARD', line)
local room = a.cap - redis.call('SCARD', P .. 'slots:' .. a.provider)
local excess = waiting - math.max(0, room) - a.max_waiting
if excess + n > 0 then return excess + 1 > 0 and {'busy', waiting} or {'slow'} end
-- At its limit a Redis that evicts nothing takes no write, also none of what is paid: what is left of its memory
-- is for jobs that there are.
local FULL = 0.95 -- `thresholds.REDIS_MEMORY`
local memory = redis.pcall('INFO', 'memory') -- an error where a user may not ask
if type(memory) == 'string' and string.find(memory, '\nmaxmemory_policy:noeviction', 1, true) then
  local function bytes(of) return tonumber(string.match(memory, '\n' .. of .. ':(%d+)') or '0') end
  local limit, used = bytes('maxmemory'), bytes('used_memory') - bytes('mem_not_counted_for_evict')
  if limit > 0 and used > FULL * limit then return {'full'} end
end
-- A picture that comes in the answer needs room, and that is asked for before it is paid.
if a.kept then
  local store = redis.call('HMGET', P .. 'originals', 'room', 'size')
  if store[1] and (waiting + a.cap - room + n) * (store[2] or 1) > tonumber(store[1]) then return {'full'} end
end
-- Who would still wait when the deadline comes is told now, not then.
local tag = last_tag(a.provider, a.user, a.class, waiting)
local place = n
if a.cap > 0 and waiting + n - room > a.cap then
  place = n + redis.call('ZCOUNT', line, '-inf', a.class * CLASS + tag + n)
end
if a.cap > 0 and place - room > a.cap then
  local took = redis.call('LRANGE', P .. 'took:' .. a.provider .. ':' .. a.model, 0, SAMPLE - 1)
  local sum = 0
  for _, ms in ipairs(took) do sum = sum + tonumber(ms) end
  local function late(at) return at > a.cap and at / a.cap * sum / #took > a.deadline end
  if #took > 0 and late(place - room) then return late(place - n + 1 - room) and {'busy', waiting} or {'slow'} end
end

local costs = {}
for unit, amount in pairs(a.charge.costs) do costs[unit] = n * amount end
local over = over_cap(a.charge.caps, TODAY, a.user, a.uncapped == 1, costs)
if over then
  if over == 'all' then
    redis.call('HSET', P .. 'spent:' .. TODAY, 'full', 1)
    redis.call('EXPIRE', P .. 'spent:' .. TODAY, SUMS_KEPT)
  end
  return {over == 'all' and 'spent' or 'spent-person', math.ceil(((TODAY + 1) * 86400000 - NOW) / 1000)}
end
-- The day's free share goes first. Whom the caps do not bind pays nothing.
local sold, free = a.share and a.uncapped ~= 1, 0
local had = P .. 'free:' .. TODAY
if sold then
  local left = math.max(0, a.share - (redis.call('HGET', had, a.user) or 0))
  local bought = tonumber(redis.call('HGET', P .. 'balance', a.user) or '0')
  free = math.min(n, left)
  if n - free > math.max(0, bought) then return {'unpaid', left + math.max(0, bought)} end
  if free > 0 then
    redis.call('HINCRBY', had, a.user, free)
    redis.call('EXPIRE', had, 259200)
  end
  if n > free then redis.call('HINCRBY', P .. 'balance', a.user, free - n) end
end
for unit, amount in pairs(costs) do add_cost(TODAY, a.provider, a.user, unit, amount) end
local charged = cjson.encode({day = TODAY, provider = a.provider, free = a.uncapped == 1, costs = a.charge.costs})

for _, h in ipairs(a.hourly) do
  local here = P .. 'here:' .. a.fields.chat .. ':' .. h.who
  for _, job in ipairs(a.jobs) do redis.call('ZADD', here, NOW, job.id) end
  redis.call('PEXPIRE', here, SPAN)
end
if first[2] then redis.call('ZREMRANGEBYSCORE', window, '-inf', NOW - a.rate_window) end
redis.call('ZADD', window, NOW, a.request)
redis.call('PEXPIRE', window, a.rate_window)
if a.update ~= '' then redis.call('SET', P .. 'update:' .. a.update, a.request, 'EX', 172800) end

local ids, opened, rows = {}, {}, {}
for i, job in ipairs(a.jobs) do
  ids[i] = job.id
  opened[2 * i - 1], opened[2 * i] = NOW, job.id
  rows[2 * i - 1], rows[2 * i] = NOW + a.deadline - a.near, job.id
  redis.call('HSET', job_key(job.id), 'v', 2, 'state', 'waiting', 'user', a.user, 'request', a.request,
    'provider', a.provider, 'class', a.class, 'spec', job.spec, 'wake', job.wake, 'created', NOW, 'deadline', NOW + a.deadline,
    'fence', 0, 'holder', '', 'story', 'waiting@0', 'charge', charged, 'keep', person[4] or 0)
  if sold then redis.call('HSET', job_key(job.id), 'paid', i <= free and TODAY or 'balance') end
end
many('ZADD', active, opened)
many('ZADD', P .. 'due', rows)
join_line(a.provider, a.user, a.class, ids, tag)
local flat = {'jobs', table.concat(ids, ','), 'user', a.user, 'created', NOW}
for k, v in pairs(a.fields) do flat[#flat + 1] = k; flat[#flat + 1] = v end
if person[3] then flat[#flat + 1] = 'first'; flat[#flat + 1] = person[3] end
redis.call('HSET', P .. 'request:' .. a.request, unpack(flat))
-- Where there is no chat, there is no placeholder to keep up to date.
if a.fields.chat ~= '0' then redis.call('ZADD', P .. 'open', NOW, a.request) end
local history = P .. 'history:' .. a.user
redis.call('ZADD', history, NOW, a.request)
-- It may grow a little beyond what is kept before it is cut.
if NOW % 16 == 0 then redis.call('ZREMRANGEBYRANK', history, 0, -201) end
redis.call('EXPIRE', history, a.ttl)
redis.call('HINCRBY', P .. 'counts', 'admitted', n)
tally(HOUR .. ' admitted', n)
local released, gone = room > 0 and release(a.provider, a.cap) or {}, {}
for i = 1, #released, 2 do gone[released[i]] = true end

local out = {'ok', a.request}
for _, id in ipairs(ids) do out[#out + 1] = gone[id] and -1 or redis.call('ZRANK', line, id) or -1 end
out[#out + 1] = '|'
for _, id in ipairs(released) do out[#out + 1] = id end
return out
