-- Shared by every script of the ledger; put before each of them, and before it RECORD: the fields of a job that its
-- worker is told, in their order (`records.py`).
--
-- KEYS[1]  the prefix P of all keys; what each is stands in `src/jobs/keys.py`
-- Keys  active, balance, cooling, due, free, here, job, line, owed, request, slots, spender, spent, starred, strikes, tags, tally, window
local P = KEYS[1]
local CLASS = 1099511627776
-- ms after which a wake-up that nobody acted on is sent again. The .5 ms marks a row of `due` whose message was already sent.
local RESEND = 3000.5

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local NOW = clock()

local function job_key(id) return P .. 'job:' .. id end
local function due_at(id) return tonumber(redis.call('ZSCORE', P .. 'due', id) or '0') end
local function due(id, at) redis.call('ZADD', P .. 'due', at, id) end

-- One call with many arguments; a few where they are more than a call can take.
local function many(command, key, args)
  for i = 1, #args, 2000 do redis.call(command, key, unpack(args, i, math.min(i + 1999, #args))) end
end

local function fields(id, ...)
  local names, out = {...}, {}
  local values = redis.call('HMGET', job_key(id), ...)
  for i, name in ipairs(names) do out[name] = values[i] or '' end
  return out
end

-- A job as its worker is told: the fields of RECORD, then NOW and the span of an attempt that was lost.
local function told(f, attempt)
  local out = {}
  for i, name in ipairs(RECORD) do out[i] = f[name] end
  local n = #out
  out[n + 1], out[n + 2] = NOW, attempt
  return out
end

-- Whether a job has ended, one without a picture when its person was told; one that is gone has, too.
local function has_ended(f) return f.state == '' or f.state == 'delivered' or f.told == '1' end

-- How many of a request's jobs have not ended, without `but`.
local function open_jobs(request, but)
  local n = 0
  for id in string.gmatch(redis.call('HGET', P .. 'request:' .. request, 'jobs') or '', '[^,]+') do
    local f = id ~= but and fields(id, 'state', 'told')
    if f and not has_ended(f) then n = n + 1 end
  end
  return n
end

-- Messages of a request that do not count and are to be deleted: those `known`, without those that are `gone`; how many.
-- Both are ids, separated by commas.
local function set_strays(request, known, gone)
  local left, seen = {}, {}
  for id in string.gmatch(gone, '[^,]+') do seen[id] = true end
  for id in string.gmatch(known, '[^,]+') do
    if not seen[id] then left[#left + 1], seen[id] = id, true end
  end
  if #left > 0 then redis.call('HSET', request, 'strays', table.concat(left, ',')) else redis.call('HDEL', request, 'strays') end
  return #left
end

-- A lease is live while its holder is named and the job is not due.
local function leased(id, holder) return holder ~= '' and due_at(id) > NOW end

-- Whether who had the job under that fence let it go, and nobody has taken it since: the script that did is called again.
local function let_go(f, fence) return f.holder == '' and tonumber(f.fence) == tonumber(fence) + 1 end

-- A lease ran out unfinished: name the lost holder and the span of its attempt for the next claim.
local function lose(id, holder)
  if holder ~= '' then redis.call('HSET', job_key(id), 'lost', holder, 'holder', '') end
end

-- A job's story with one more state or note, and when: in ms since it was made.
local function noted(story, note, created) return story .. ' ' .. note .. '@' .. (NOW - tonumber(created)) end

-- Move a job to a state.
local function move(id, state, created, story, ...)
  redis.call('HSET', job_key(id), 'state', state, 'story', noted(story, state, created), ...)
end

-- A generation that was asked about has ended: that look counts, too.
local function count_last_poll(id, f)
  if f.state == 'running' and f.ticket ~= '' then redis.call('HINCRBY', job_key(id), 'polls', 1) end
end

-- A generation is over: until its span is written the ledger holds what belongs into it (`src/telemetry/owed_spans.py`).
-- `facts`: what only its process knows of it (JSON).
local function owe_generation(id, f, facts)
  if f.generation == '' then return end
  local note = {id, NOW, f.provider, cjson.decode(f.spec).model, redis.call('HGET', job_key(id), 'ticket') or '', facts}
  redis.call('HSET', P .. 'owed', f.generation, cjson.encode(note))
end

-- What a job costs: {day, provider, free (its person's cap does not bind), costs: millionths by unit, left: what providers
-- that it has left may want all the same, as {provider, costs} each, settled: submits of unknown fate that are in there}, as
-- JSON in its field `charge`, and in the sums of that day: for all and for its provider in `spent`, for its person in
-- `spender`. See `src/jobs/spending.py`.
local TODAY, SUMS_KEPT = math.floor(NOW / 86400000), 90 * 86400

local function add_cost(day, provider, user, unit, amount)
  if amount == 0 then return end
  local spent, spender, text = P .. 'spent:' .. day, P .. 'spender:' .. day, string.format('%.0f', amount)
  local all = redis.call('HINCRBY', spent, 'all ' .. unit, text)
  redis.call('HINCRBY', spent, provider .. ' ' .. unit, text)
  redis.call('HINCRBY', spender, user .. ' ' .. unit, text)
  if all == amount then
    -- The first of its unit on that day.
    redis.call('EXPIRE', spent, SUMS_KEPT)
    redis.call('EXPIRE', spender, SUMS_KEPT)
  end
end

-- What happened today, for admins: `<hour> <what>`, or `kind <why>`.
local HOUR = math.floor(NOW % 86400000 / 3600000)
local function tally(what, n)
  local key = P .. 'tally:' .. TODAY
  if redis.call('HINCRBY', key, what, n) == n then redis.call('EXPIRE', key, SUMS_KEPT) end
end

-- The first of the caps {whose: all or user, unit, most} that these costs would pass; nil: none.
local function over_cap(caps, day, user, free, costs)
  for _, cap in ipairs(caps) do
    local whose, unit, most = unpack(cap)
    local more = costs[unit] or 0
    if more > 0 and not (free and whose == 'user') then
      local key = P .. (whose == 'user' and 'spender:' or 'spent:') .. day
      local spent = tonumber(redis.call('HGET', key, (whose == 'user' and user or 'all') .. ' ' .. unit) or '0')
      if spent + more > most then return whose end
    end
  end
end

-- A job costs something else from now on, by `provider`. `f`: its fields charge and user. Jobs of an earlier version cost nothing.
local function charge(id, f, provider, costs)
  if f.charge == '' then return end
  local c = cjson.decode(f.charge)
  for unit, amount in pairs(c.costs) do add_cost(c.day, c.provider, f.user, unit, -amount) end
  for unit, amount in pairs(costs) do add_cost(c.day, provider, f.user, unit, amount) end
  c.provider, c.costs = provider, costs
  f.charge = cjson.encode(c)
  redis.call('HSET', job_key(id), 'charge', f.charge)
end

-- Whether nobody knows if the provider that a job is at has taken a submit of it. `f`: its fields charge, lost and unknown.
local function doubtful(f)
  local settled = f.charge ~= '' and cjson.decode(f.charge).settled or 0
  return f.lost ~= '' or (tonumber(f.unknown) or 0) > settled
end

-- The same, if that stays within the caps; else false, and nothing is changed. What the provider that is left may want all
-- the same stays counted.
local function recharge(id, f, provider, a)
  if f.charge == '' then return true end
  local c, more, stays = cjson.decode(f.charge), {}, doubtful(f)
  for unit, amount in pairs(a.costs) do more[unit] = amount - (not stays and c.costs[unit] or 0) end
  if over_cap(a.caps, c.day, f.user, c.free, more) then return false end
  if stays then
    c.left, c.settled = c.left or {}, tonumber(f.unknown) or 0
    c.left[#c.left + 1] = {provider = c.provider, costs = c.costs}
    c.costs = {}
    f.charge = cjson.encode(c)
  end
  charge(id, f, provider, a.costs)
  return true
end

-- Whether a provider may want money for a job that ends so: it has made the picture, or nobody can say that it does not.
local function may_be_paid(f, state, kind, code)
  if f.state == 'waiting' then return false end
  if kind == 'submit_unknown' or code == 'submit_unknown' or doubtful(f) then return true end
  if f.state == 'submitting' then return f.holder ~= '' end
  return f.state ~= 'running' or state == 'cancelled' or kind == 'timeout'
end

-- Where pictures are sold, a job's field `paid` says what its picture was taken from at its admission: `balance`, or the
-- day of whose free share it is. It ends without one: that comes back, unless its person takes it back when it may be paid.
local function give_back(id, user)
  local paid = redis.call('HGET', job_key(id), 'paid')
  if not paid then return end
  redis.call('HDEL', job_key(id), 'paid')
  if paid == 'balance' then
    redis.call('HINCRBY', P .. 'balance', user, 1)
  elseif redis.call('HEXISTS', P .. 'free:' .. paid, user) == 1 then
    redis.call('HINCRBY', P .. 'free:' .. paid, user, -1)
  end
end

-- Give free slots to the head of the line. Returns what is needed to wake each job: id, wake, id, wake, …
-- `rows`: others that become due meanwhile: at, id, at, id, …
local function release(provider, cap, rows)
  local line, slots = P .. 'line:' .. provider, P .. 'slots:' .. provider
  local free = cap - redis.call('SCARD', slots)
  local head = free > 0 and redis.call('ZPOPMIN', line, free) or {}
  local out, rounds, taken, gone = {}, {}, {}, {}
  rows = rows or {}
  for i = 1, #head, 2 do
    local id, place = head[i], tonumber(head[i + 1])
    local class = math.floor(place / CLASS)
    rounds[class] = place - class * CLASS
    local f = redis.call('HMGET', job_key(id), 'created', 'story', 'wake', 'user')
    if f[1] then
      gone[#gone + 1] = {class, f[4]}
      move(id, 'submitting', f[1], f[2], 'released', NOW)
      local n, m = #out, #rows
      taken[#taken + 1] = id
      rows[m + 1], rows[m + 2] = NOW + RESEND, id
      out[n + 1], out[n + 2] = id, f[3]
    else
      redis.call('ZREM', P .. 'due', id)
    end
  end
  many('SADD', slots, taken)
  many('ZADD', P .. 'due', rows)
  local tags = P .. 'tags:' .. provider
  if #head > 0 and (#head < 2 * free or redis.call('EXISTS', line) == 0) then
    -- Nobody waits: whose jobs stood where says nothing to those who come.
    redis.call('DEL', tags)
  else
    for class, round in pairs(rounds) do redis.call('HSET', tags, 'now:' .. class, round) end
    -- Whose last job has gone stands where a newcomer does.
    for _, of in ipairs(gone) do
      local field = of[1] .. ':' .. of[2]
      local tag = redis.call('HGET', tags, field)
      if tag and tonumber(tag) <= rounds[of[1]] then redis.call('HDEL', tags, field) end
    end
  end
  return out
end

-- The tag after which a person's next job stands: their last one's, or that of the round now. `waiting`: jobs in that line.
local function last_tag(provider, user, class, waiting)
  local tags = redis.call('HMGET', P .. 'tags:' .. provider, 'now:' .. class, class .. ':' .. user)
  local round = tonumber(tags[1] or '0')
  if waiting == 0 then return round end
  return math.max(tonumber(tags[2] or '0'), round)
end

-- Put a person's new jobs into a line behind their last tag. Start-time fair queueing: each is one round after the one
-- before, or in this round.
local function join_line(provider, user, class, ids, tag)
  local rows = {}
  for i, id in ipairs(ids) do rows[2 * i - 1], rows[2 * i] = class * CLASS + tag + i, id end
  many('ZADD', P .. 'line:' .. provider, rows)
  redis.call('HSET', P .. 'tags:' .. provider, class .. ':' .. user, tag + #ids)
end

-- Take a job out of the line; later jobs of the same person move up into the gap.
local function leave_line(id, provider, user, class)
  local line = P .. 'line:' .. provider
  local place = tonumber(redis.call('ZSCORE', line, id) or '-1')
  if place < 0 then return end
  redis.call('ZREM', line, id)
  local stands = false
  for _, other in ipairs(redis.call('ZRANGE', P .. 'active:' .. user, 0, -1)) do
    local p = tonumber(redis.call('ZSCORE', line, other) or '-1')
    if p >= 0 and math.floor(p / CLASS) == class then
      stands = true
      if p > place then redis.call('ZINCRBY', line, -1, other) end
    end
  end
  local tags = P .. 'tags:' .. provider
  if redis.call('EXISTS', line) == 0 then
    redis.call('DEL', tags)
  elseif not stands then
    redis.call('HDEL', tags, class .. ':' .. user)
  else
    redis.call('HINCRBY', tags, class .. ':' .. user, -1)
  end
end

-- A job that does not count: what the filter refused, and what was taken back before it could cost anything. A request of which no
-- job counts gives its place in the rate's window back.
local REFUSED = {moderated_input = true, moderated_output = true}
local function uncount(id, f)
  redis.call('HSET', job_key(id), 'uncounted', '1')
  local here = P .. 'here:' .. (redis.call('HGET', P .. 'request:' .. f.request, 'chat') or '') .. ':'
  redis.call('ZREM', here .. 'all', id)
  redis.call('ZREM', here .. f.user, id)
  for other in string.gmatch(redis.call('HGET', P .. 'request:' .. f.request, 'jobs') or '', '[^,]+') do
    if redis.call('HGET', job_key(other), 'uncounted') ~= '1' then return end
  end
  redis.call('ZREM', P .. 'window:' .. f.user, f.request)
end

-- A person asked for what may not be drawn: so often within so many seconds, and they may ask for nothing for a while.
-- Returns how often they still may.
local STRIKES, STRIKE_WINDOW, COOLING = 3, 3600, 1800
local function strike(user)
  local key = P .. 'strikes:' .. user
  local left = STRIKES - redis.call('INCR', key)
  redis.call('EXPIRE', key, STRIKE_WINDOW)
  if left <= 0 then
    redis.call('DEL', key)
    redis.call('SET', P .. 'cooling:' .. user, 1, 'EX', COOLING)
  end
  return math.max(0, left)
end

-- A request is one strike, however many pictures it is for. Behind a client of the REST API are many people.
local function strike_for(id, f)
  local request = P .. 'request:' .. f.request
  if redis.call('HGET', request, 'chat') == '0' then return end
  if redis.call('HSETNX', request, 'struck', 1) == 1 then redis.call('HSET', job_key(id), 'strikes_left', strike(f.user)) end
end

local function is_starred(user, id) return redis.call('ZSCORE', P .. 'starred:' .. user, id) and true end

-- A request is kept for so many seconds from now, but one with a favourite for as long as that is one.
local function let_request_go(request, user, ttl)
  local key = P .. 'request:' .. request
  for id in string.gmatch(redis.call('HGET', key, 'jobs') or '', '[^,]+') do
    if is_starred(user, id) then return end
  end
  redis.call('EXPIRE', key, ttl)
end

-- An outcome is known that is not a picture: free the slot, keep the job due until the person was told.
local function end_early(id, f, state, kind, code, cap)
  local provider = f.provider
  if f.state == 'waiting' then leave_line(id, provider, f.user, tonumber(f.class)) end
  redis.call('SREM', P .. 'slots:' .. provider, id)
  redis.call('ZREM', P .. 'active:' .. f.user, id)
  local paid, cancelled = may_be_paid(f, state, kind, code), state == 'cancelled'
  -- Of what is drawn a preview may have been seen: taken back then, it would be a picture for nothing.
  local counts = cancelled and paid and f.by_owner
  if REFUSED[kind] or (cancelled and not counts) then uncount(id, f) end
  if kind == 'moderated_input' then strike_for(id, f) end
  if cancelled and paid and not counts then redis.call('HSET', job_key(id), 'drawn', '1') end
  if not paid then charge(id, f, provider, {}) end
  if not counts then give_back(id, f.user) end
  move(id, state, f.created, f.story, 'fence', f.fence + 1, 'told', '0', 'holder', '', 'kind', kind, 'code', code)
  return release(provider, cap, {NOW + RESEND, id})
end

-- Generations that were polled and go on: each gets its next look and is let go. Arguments from the `first` on, in
-- fives: job, fence, ms until the next look, progress (0..1 or empty), how many are ahead of it at its provider (or empty).
-- Returns the ids that were no longer ours.
local function go_on(first)
  local lost, rows = {}, {}
  for i = first, #ARGV, 5 do
    local id = ARGV[i]
    local f = fields(id, 'state', 'fence', 'deadline', 'polls', 'hurried')
    if f.state == 'running' and f.fence == ARGV[i + 1] then
      redis.call('HSET', job_key(id), 'holder', '', 'progress', ARGV[i + 3], 'ahead', ARGV[i + 4],
        'polls', (tonumber(f.polls) or 0) + 1)
      local n = #rows
      rows[n + 1] = f.hurried ~= '' and NOW or math.min(NOW + ARGV[i + 2], tonumber(f.deadline))
      rows[n + 2] = id
      if f.hurried ~= '' then redis.call('HDEL', job_key(id), 'hurried') end
    else
      lost[#lost + 1] = id
    end
  end
  many('ZADD', P .. 'due', rows)
  return lost
end
