-- The person has it: delivering → delivered, or failed / cancelled and now told. The job has ended.
--
-- ARGV  1 job  2 fence  3 shown (JSON: message and file ids)  4 ttl, s  5 kind (not empty: it cannot be shown, for this reason)
--       6 how many delivered pictures are kept in blobs
-- Returns {outcome, jobs of the request still open, ms since it was asked}, or {""} when it is no longer ours.
local id = ARGV[1]
local f = fields(id, 'state', 'fence', 'created', 'story', 'user', 'request', 'told')
if f.state == 'delivered' and f.fence == ARGV[2] then
  return {'delivered', open_jobs(f.request), NOW - tonumber(f.created)} -- said again: the first answer was lost
end
if f.fence ~= ARGV[2] or (f.state ~= 'delivering' and f.told ~= '0') then return {''} end
local outcome = f.state
if f.state == 'delivering' then
  outcome = ARGV[5] == '' and 'delivered' or 'failed'
  if ARGV[5] ~= '' then
    redis.call('HSET', job_key(id), 'kind', ARGV[5])
    redis.call('ZADD', P .. 'failed', NOW, id)
  end
  redis.call('ZREM', P .. 'active:' .. f.user, id)
end
move(id, outcome, tonumber(f.created), f.story, 'told', '1', 'shown', ARGV[3])
redis.call('HDEL', job_key(id), 'holder', 'attempt', 'generation', 'progress', 'deadline', 'released', 'limited', 'result', 'class',
  'tries', 'deliveries', 'accepted', 'ready', 'lost', 'polls', 'ticket')
if outcome ~= 'delivered' then
  redis.call('DEL', P .. 'blob:' .. id)
elseif redis.call('EXISTS', P .. 'blob:' .. id) == 1 and redis.call('LPUSH', P .. 'blobs', id) > tonumber(ARGV[6]) then
  redis.call('DEL', P .. 'blob:' .. redis.call('RPOP', P .. 'blobs'))
end
redis.call('ZREM', P .. 'due', id)
redis.call('LPUSH', P .. 'ended', NOW .. ' ' .. outcome .. ' ' .. (NOW - tonumber(f.created)) .. ' ' .. id)
redis.call('LTRIM', P .. 'ended', 0, 999)
redis.call('EXPIRE', job_key(id), ARGV[4])
redis.call('EXPIRE', P .. 'request:' .. f.request, ARGV[4])
redis.call('HINCRBY', P .. 'counts', outcome, 1)
local open = open_jobs(f.request)
if open == 0 and redis.call('HEXISTS', P .. 'request:' .. f.request, 'status_message') == 1 then
  due('r:' .. f.request, NOW + RESEND)
end
return {outcome, open, NOW - tonumber(f.created)}
