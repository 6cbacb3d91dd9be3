-- The person takes another model: a request's jobs that still wait for the one provider wait for it, or for another provider.
-- At the same provider they keep their places; in another's line they stand as if they were new.
--
-- Keys  job, line, request
-- ARGV  1 JSON: request, user, from, to, cap (of `to`), note (for the story), jobs: [{id, spec, wake}],
--               charge: {costs, caps} (spending.Charge)
-- Returns {jobs that were switched, released…}; the others run already, have ended, are not theirs or would cost too much.
local a = cjson.decode(ARGV[1])
local ids, class = {}, nil
for _, job in ipairs(a.jobs) do
  local f = fields(job.id, 'state', 'user', 'request', 'provider', 'class', 'created', 'story', 'charge', 'unknown', 'lost',
    'fence')
  if f.state == 'waiting' and f.user == a.user and f.request == a.request and f.provider == a.from
    and recharge(job.id, f, a.to, a.charge) then
    class = tonumber(f.class)
    if a.to ~= a.from then leave_line(job.id, a.from, a.user, class) end
    -- Who read it before does not undo what they chose.
    redis.call('HSET', job_key(job.id), 'fence', f.fence + 1, 'provider', a.to, 'spec', job.spec, 'wake', job.wake,
      'story', noted(f.story, a.note, f.created))
    ids[#ids + 1] = job.id
  end
end
if #ids == 0 then return {0} end
redis.call('HSET', P .. 'request:' .. a.request, 'chosen', 'faster')
if a.to ~= a.from then
  join_line(a.to, a.user, class, ids, last_tag(a.to, a.user, class, redis.call('ZCARD', P .. 'line:' .. a.to)))
end
local out = {#ids}
for _, r in ipairs(release(a.to, a.cap)) do out[#out + 1] = r end
return out
