-- The person takes a job back, from any state before delivering; or somebody else does (empty user: an admin, a group
-- that is left), and then it does not count.
--
-- ARGV  1 job  2 user  3 cap of the provider  4 the provider (empty: not checked)
-- Returns {1, state before, ticket, released…}; {0, state} when it is too late; {-1} when it is not theirs;
--   {0, "moved"} when it is at another provider by now, whose cap that is not.
local id = ARGV[1]
local f = fields(id, 'state', 'fence', 'created', 'story', 'provider', 'user', 'request', 'class', 'ticket',
  'charge', 'unknown', 'lost', 'holder')
if f.state == '' or (ARGV[2] ~= '' and f.user ~= ARGV[2]) then return {-1} end
if f.state ~= 'waiting' and f.state ~= 'submitting' and f.state ~= 'running' and f.state ~= 'ready' then return {0, f.state} end
if ARGV[4] ~= '' and f.provider ~= ARGV[4] then return {0, 'moved'} end
f.by_owner = ARGV[2] ~= ''
local out = {1, f.state, f.ticket}
for _, r in ipairs(end_early(id, f, 'cancelled', '', '', tonumber(ARGV[3]))) do out[#out + 1] = r end
return out
