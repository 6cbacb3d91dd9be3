-- Take what is due. Each row is looked at by one process: it is due again only after the lease.
--
-- Keys  due, grace, job, looked, request
-- ARGV  1 how many at most  2 lease, ms  3 holder  4.. what was polled since the last look, as `polled` takes it
-- Returns rows {what, id, …}: "poll" id job as `told` gives it (running, with a ticket) ; "lost" the same (running, but
--   the call's holder is gone) ; "expired" id (past its deadline) ; "late" id (its deadline nears and it waits) ; "submit" id wake again ; "deliver" id wake again
--   (again "1": one was sent before) ; "close" request ;
--   second value of the whole answer: ms until the next row is due (-1: none).
-- Nobody could renew a lease while Redis was away, and a woken Redis finds all of them over: after a gap
-- between looks, leases that ran out in it get a moment to be renewed.
go_on(4)
local GAP, GRACE = 2000, 2000
local before = tonumber(redis.call('SET', P .. 'looked', NOW, 'GET') or NOW)
if NOW - before > GAP then redis.call('SET', P .. 'grace', NOW + GRACE, 'PX', GRACE) end
local grace
-- Until when leases that ran out are left alone; asked only for one that did.
local function in_grace()
  grace = grace or tonumber(redis.call('GET', P .. 'grace') or '0')
  return grace > NOW
end

-- Few are due at most looks: the first rows say how many more to read, and when the next is due.
local FIRST = 16
local count = tonumber(ARGV[1])
local found = redis.call('ZRANGE', P .. 'due', 0, math.min(FIRST, count), 'WITHSCORES')
if count > FIRST and #found > 2 * FIRST and tonumber(found[#found]) <= NOW then
  found = redis.call('ZRANGE', P .. 'due', 0, count, 'WITHSCORES')
end
local next = nil
local later = {}
local function put_off(id, at)
  local n = #later
  later[n + 1], later[n + 2] = at, id
  next = math.min(next or at, at)
end

local rows = {}
for i = 1, #found, 2 do
  local id, at = found[i], tonumber(found[i + 1])
  local again = at % 1 > 0 and '1' or ''
  if at > NOW or i > 2 * count then
    next = math.min(next or at, at)
    break
  end
  if string.sub(id, 1, 2) == 'r:' then
    local request = P .. 'request:' .. string.sub(id, 3)
    if redis.call('EXISTS', request) == 1 then redis.call('HSETNX', request, 'closing', NOW) end
    put_off(id, NOW + ARGV[2])
    rows[#rows + 1] = {'close', string.sub(id, 3)}
  else
    local f = fields(id, unpack(RECORD))
    if has_ended(f) then
      redis.call('ZREM', P .. 'due', id)
    elseif f.holder ~= '' and in_grace() then
      put_off(id, grace)
    elseif f.told == '0' then
      lose(id, f.holder)
      put_off(id, NOW + RESEND)
      rows[#rows + 1] = {'deliver', id, f.wake, again}
    elseif tonumber(f.deadline) <= NOW and f.state ~= 'ready' and f.state ~= 'delivering' then
      put_off(id, NOW + RESEND)
      rows[#rows + 1] = {'expired', id}
    elseif f.state == 'waiting' then
      put_off(id, tonumber(f.deadline))
      rows[#rows + 1] = {'late', id}
    elseif f.state == 'running' then
      f.fence, f.lost, f.holder = f.fence + 1, f.holder, ARGV[3]
      redis.call('HSET', job_key(id), 'fence', f.fence, 'holder', f.holder)
      put_off(id, NOW + ARGV[2])
      rows[#rows + 1] = {f.ticket ~= '' and 'poll' or 'lost', id, told(f, '')}
    else
      lose(id, f.holder)
      put_off(id, NOW + RESEND)
      rows[#rows + 1] = {f.state == 'submitting' and 'submit' or 'deliver', id, f.wake, again}
    end
  end
end
many('ZADD', P .. 'due', later)
return {rows, next and math.max(0, next - NOW) or -1}
