-- Take what is due. Each row is looked at by one process: it is due again only after the lease.
--
-- ARGV  1 how many at most  2 lease, ms  3 holder
-- Returns rows {what, id, …}: "poll" id fields… (running, with a ticket) ; "lost" id fields… (running, but the call's holder is gone);
--   "expired" id (past its deadline) ; "submit" id wake ; "deliver" id wake ; "close" request ;
--   second value of the whole answer: ms until the next row is due (-1: none).
local rows = {}
-- Nobody could renew a lease while Redis was away, and a woken Redis finds all of them over: after a gap
-- between looks, leases that ran out in it get a moment to be renewed.
local GAP, GRACE = 2000, 2000
local before = tonumber(redis.call('GET', P .. 'looked') or NOW)
redis.call('SET', P .. 'looked', NOW)
if NOW - before > GAP then redis.call('SET', P .. 'grace', NOW + GRACE, 'PX', GRACE) end
local grace = tonumber(redis.call('GET', P .. 'grace') or '0')
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', NOW, 'LIMIT', 0, ARGV[1])) do
  if string.sub(id, 1, 2) == 'r:' then
    due(id, NOW + ARGV[2])
    rows[#rows + 1] = {'close', string.sub(id, 3)}
  else
    local f = fields(id, 'state', 'deadline', 'ticket', 'provider', 'holder', 'told', 'wake')
    if f.state == '' or f.state == 'delivered' or f.told == '1' then
      redis.call('ZREM', P .. 'due', id)
    elseif f.holder ~= '' and grace > NOW then
      due(id, grace)
    elseif f.told == '0' then
      lose(id, f.holder)
      due(id, NOW + RESEND)
      rows[#rows + 1] = {'deliver', id, f.wake}
    elseif tonumber(f.deadline) <= NOW and f.state ~= 'ready' and f.state ~= 'delivering' then
      due(id, NOW + RESEND)
      rows[#rows + 1] = {'expired', id}
    elseif f.state == 'waiting' then
      due(id, tonumber(f.deadline))
    elseif f.state == 'running' then
      redis.call('HINCRBY', job_key(id), 'fence', 1)
      redis.call('HSET', job_key(id), 'holder', ARGV[3])
      due(id, NOW + ARGV[2])
      local all = redis.call('HGETALL', job_key(id))
      all[#all + 1] = 'lost'; all[#all + 1] = f.holder
      all[#all + 1] = 'now'; all[#all + 1] = tostring(NOW)
      rows[#rows + 1] = {f.ticket ~= '' and 'poll' or 'lost', id, unpack(all)}
    else
      lose(id, f.holder)
      due(id, NOW + RESEND)
      rows[#rows + 1] = {f.state == 'submitting' and 'submit' or 'deliver', id, f.wake}
    end
  end
end
local next = redis.call('ZRANGE', P .. 'due', 0, 0, 'WITHSCORES')
local wait = -1
if next[2] then wait = math.max(0, tonumber(next[2]) - NOW) end
return {rows, wait}
