-- Shared by every script of the ledger; put before each of them.
--
-- KEYS[1]  the prefix P of the ledger's keys. Under it:
--   P job:<id>            HASH   a job: state, fence, holder, spec, … (see records.py)
--   P request:<id>        HASH   what the person sent: its jobs and the messages that show it
--   P line:<provider>     ZSET   waiting jobs by their place: class * 2^40 + virtual time
--   P tags:<provider>     HASH   per class the virtual time now (field "now:<class>"), per person and class the last tag given
--   P slots:<provider>    SET    jobs that hold one of the provider's slots (submitting, running)
--   P due                 ZSET   when a job (or "r:" request) must be looked at, in ms of Redis's clock
--   P open                ZSET   requests with a chat that may not have ended, by time
--   P active:<user>       ZSET   the person's jobs that have not ended
--   P history:<user>      ZSET   the person's requests, by time
--   P window:<user>       ZSET   the person's admissions in the rate window
--   P user:<user>         HASH   the person: language, choices, tier, blocked
--   P update:<id>         STRING request made from that Telegram update
--   P took:<pv>:<model>   LIST   durations of generations that ended lately, ms, newest first
--   P sampled:<pv>:<model> STRING one was added to that list just now
--   P models              SET    <provider>:<model> of each list above
--   P workers             ZSET   worker processes, by their last heartbeat
--   P looked              STRING when anybody last looked at what is due, in ms
--   P grace               STRING until when leases that ran out are left alone, in ms
--   P failed              ZSET   failed jobs, kept for the operator, by time
--   P ended               LIST   jobs that ended lately, newest first: "<ms> <outcome> <ms it took> <id>"
--   P ticket:<pv>:<task>  STRING job of a provider's task, for its callback
--   P hint:<pv>:<task>    STRING that task called back before its ticket was stored
--   P lost:<span>         STRING who writes that span of a dead process: step or disk
--   P counts              HASH   admitted and ended jobs by outcome
--   P blob:<job>          STRING a picture that the provider gave in its answer
--   P upload:<id>:<sum>   STRING a picture to be changed that came over REST, until its job has ended
--   P blobs               LIST   delivered jobs whose blob is still kept, newest first
local P = KEYS[1]
local CLASS = 1099511627776
local RESEND = 3000 -- ms after which a wake-up that nobody acted on is sent again

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local NOW = clock()

local function job_key(id) return P .. 'job:' .. id end
local function get(id, field) return redis.call('HGET', job_key(id), field) or '' end
local function due_at(id) return tonumber(redis.call('ZSCORE', P .. 'due', id) or '0') end
local function due(id, at) redis.call('ZADD', P .. 'due', at, id) end

-- A lease is live while its holder is named and the job is not due.
local function leased(id, holder) return holder ~= '' and due_at(id) > NOW end

-- A lease ran out unfinished: name the lost holder and the span of its attempt for the next claim.
local function lose(id, holder)
  if holder ~= '' then redis.call('HSET', job_key(id), 'lost', holder, 'holder', '') end
end

-- Move a job to a state and note when, in ms since it was made, for its story.
local function move(id, state, created, story, ...)
  redis.call('HSET', job_key(id), 'state', state, 'story', story .. ' ' .. state .. '@' .. (NOW - created), ...)
end

-- Give free slots to the head of the line. Returns what is needed to wake each job: id, wake, id, wake, …
local function release(provider, cap)
  local line, slots = P .. 'line:' .. provider, P .. 'slots:' .. provider
  local free = cap - redis.call('SCARD', slots)
  local out = {}
  if free <= 0 then return out end
  local head = redis.call('ZPOPMIN', line, free)
  for i = 1, #head, 2 do
    local id, place = head[i], tonumber(head[i + 1])
    local class = math.floor(place / CLASS)
    redis.call('HSET', P .. 'tags:' .. provider, 'now:' .. class, place - class * CLASS)
    local f = redis.call('HMGET', job_key(id), 'created', 'story', 'wake')
    if f[1] then
      redis.call('SADD', slots, id)
      move(id, 'submitting', tonumber(f[1]), f[2], 'released', NOW)
      due(id, NOW + RESEND)
      out[#out + 1] = id
      out[#out + 1] = f[3]
    else
      redis.call('ZREM', P .. 'due', id)
    end
  end
  return out
end

-- The tag after which a person's next job stands: their last one's, or that of the round now.
local function last_tag(provider, user, class)
  local tags = redis.call('HMGET', P .. 'tags:' .. provider, 'now:' .. class, class .. ':' .. user)
  local round = tonumber(tags[1] or '0')
  if redis.call('ZCARD', P .. 'line:' .. provider) == 0 then return round end
  return math.max(tonumber(tags[2] or '0'), round)
end

-- Put a person's new jobs into a line. Start-time fair queueing: each is one round after their last, or in this round.
local function join_line(provider, user, class, ids)
  local line, tag = P .. 'line:' .. provider, last_tag(provider, user, class)
  for _, id in ipairs(ids) do
    tag = tag + 1
    redis.call('ZADD', line, class * CLASS + tag, id)
  end
  redis.call('HSET', P .. 'tags:' .. provider, class .. ':' .. user, tag)
end

-- Take a job out of the line; later jobs of the same person move up into the gap.
local function leave_line(id, provider, user, class)
  local line = P .. 'line:' .. provider
  local place = tonumber(redis.call('ZSCORE', line, id) or '-1')
  if place < 0 then return end
  redis.call('ZREM', line, id)
  for _, other in ipairs(redis.call('ZRANGE', P .. 'active:' .. user, 0, -1)) do
    local p = tonumber(redis.call('ZSCORE', line, other) or '-1')
    if p > place and math.floor(p / CLASS) == class then redis.call('ZINCRBY', line, -1, other) end
  end
  redis.call('HINCRBY', P .. 'tags:' .. provider, class .. ':' .. user, -1)
end

-- Jobs of a request that have not ended (an ended one was also told to the person).
local function open_jobs(request)
  local n = 0
  for id in string.gmatch(redis.call('HGET', P .. 'request:' .. request, 'jobs') or '', '[^,]+') do
    local f = redis.call('HMGET', job_key(id), 'state', 'told')
    if f[1] and f[1] ~= 'delivered' and not ((f[1] == 'failed' or f[1] == 'cancelled') and f[2] == '1') then n = n + 1 end
  end
  return n
end

-- An outcome is known that is not a picture: free the slot, keep the job due until the person was told.
local function end_early(id, f, state, kind, code, cap)
  local provider = f.provider
  if f.state == 'waiting' then leave_line(id, provider, f.user, tonumber(f.class)) end
  redis.call('SREM', P .. 'slots:' .. provider, id)
  redis.call('ZREM', P .. 'active:' .. f.user, id)
  redis.call('HINCRBY', job_key(id), 'fence', 1)
  move(id, state, tonumber(f.created), f.story, 'told', '0', 'holder', '', 'kind', kind, 'code', code)
  due(id, NOW + RESEND)
  return release(provider, cap)
end

local function fields(id, ...)
  local names, out = {...}, {}
  local values = redis.call('HMGET', job_key(id), ...)
  for i, name in ipairs(names) do out[name] = values[i] or '' end
  return out
end
