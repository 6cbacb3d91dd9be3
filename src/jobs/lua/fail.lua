-- The job ends without a picture: from any state but an ended one. The person is told by a deliver step.
--
-- Keys  failed
-- ARGV  1 job  2 fence (empty: whoever holds it)  3 kind  4 code  5 cap of the provider
--       6 the provider (empty: not checked)
-- Returns {1, state before, ticket, released…}, or {0}; {0, "moved"} when it is at another provider by now, whose cap that is not.
local id = ARGV[1]
local f = fields(id, 'state', 'fence', 'created', 'story', 'provider', 'user', 'request', 'class', 'ticket',
  'charge', 'unknown', 'lost', 'holder')
if f.state == '' or f.state == 'delivered' or f.state == 'failed' or f.state == 'cancelled' then return {0} end
if ARGV[2] ~= '' and f.fence ~= ARGV[2] then return {0} end
if ARGV[6] ~= '' and f.provider ~= ARGV[6] then return {0, 'moved'} end
-- Whoever holds it knows that nothing is on its way to the provider.
if ARGV[2] ~= '' then
  f.holder = ''
  count_last_poll(id, f)
end
local out = {1, f.state, f.ticket}
for _, r in ipairs(end_early(id, f, 'failed', ARGV[3], ARGV[4], tonumber(ARGV[5]))) do out[#out + 1] = r end
redis.call('ZADD', P .. 'failed', NOW, id)
return out
