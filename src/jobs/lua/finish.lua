-- The person has it: delivering → delivered, or failed / cancelled and now told. The job has ended.
--
-- Keys  active, counts, due, ended, failed, job, open, owed, request
-- ARGV  1 job  2 fence  3 shown (JSON: message and file ids)  4 ttl, s  5 kind (not empty: it cannot be shown, for this reason)
-- Returns {outcome, jobs of the request still open, ms since it was asked}, or {""} when it is no longer ours.
local ENDED = 1000 -- jobs that `ended` keeps
local FORGOTTEN = 600 -- s, in which others write its spans
local id = ARGV[1]
local f = fields(id, 'state', 'fence', 'created', 'story', 'user', 'request', 'told', 'spec', 'tries', 'deliveries',
  'ready', 'generation', 'forget', 'keep', 'kind', 'polls', 'ticket', 'result')
local request = P .. 'request:' .. f.request

local function others_open() return cjson.decode(f.spec).count == 1 and 0 or open_jobs(f.request, id) end

if f.told == '1' and f.fence == ARGV[2] then
  return {f.state, others_open(), NOW - tonumber(f.created)} -- called again: the first answer was lost
end
if f.fence ~= ARGV[2] or (f.state ~= 'delivering' and f.told ~= '0') then return {''} end
local outcome = f.state
if f.state == 'delivering' then
  outcome = ARGV[5] == '' and 'delivered' or 'failed'
  if ARGV[5] ~= '' then
    redis.call('HSET', job_key(id), 'kind', ARGV[5])
    redis.call('ZADD', P .. 'failed', NOW, id)
    -- Who blocks the bot while it draws for them takes the picture back.
    if not (ARGV[5] == 'blocked' and cjson.decode(f.spec).chat > 0) then give_back(id, f.user) end
  end
  redis.call('ZREM', P .. 'active:' .. f.user, id)
end
move(id, outcome, f.created, f.story, 'told', '1', 'shown', ARGV[3])
redis.call('HSET', P .. 'owed', id,
  cjson.encode({NOW, f.tries, f.deliveries, f.ready, f.generation, f.polls, f.ticket, f.result}))
redis.call('HDEL', job_key(id), 'holder', 'attempt', 'replaces', 'generation', 'progress', 'ahead', 'deadline',
  'released', 'limited', 'result', 'class', 'tries', 'deliveries', 'accepted', 'ready', 'lost', 'polls', 'ticket',
  'refused', 'unheard')
redis.call('ZREM', P .. 'due', id)
local ended = redis.call('LPUSH', P .. 'ended', NOW .. ' ' .. outcome .. ' ' .. (NOW - tonumber(f.created)) .. ' ' .. id)
if ended >= ENDED + 50 then redis.call('LTRIM', P .. 'ended', 0, ENDED - 1) end
-- What its person wants forgotten, or for fewer days than all is kept.
local days = tonumber(f.keep) or 0
local ttl = days > 0 and math.min(days * 86400, tonumber(ARGV[4])) or ARGV[4]
if f.forget == '1' then ttl = FORGOTTEN end
-- It may have been shown, and made a favourite, before this was said.
if not is_starred(f.user, id) then redis.call('EXPIRE', job_key(id), ttl) end
redis.call('HINCRBY', P .. 'counts', outcome, 1)
tally(HOUR .. ' ' .. outcome, 1)
if outcome == 'delivered' then tally(HOUR .. ' ms', NOW - tonumber(f.created)) end
if outcome == 'failed' then tally('kind ' .. (ARGV[5] ~= '' and ARGV[5] or f.kind), 1) end
local open = others_open()
if open == 0 then
  let_request_go(f.request, f.user, ttl)
  redis.call('ZREM', P .. 'open', f.request)
  -- An album's last words; and what is not settled in the chat, see `deliver.close`.
  local left = redis.call('HMGET', request, 'status_message', 'changing', 'previewing', 'strays')
  if left[1] or left[2] or left[3] or left[4] then due('r:' .. f.request, NOW + RESEND) end
end
return {outcome, open, NOW - tonumber(f.created)}
