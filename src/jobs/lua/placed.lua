-- The placeholder was sent: remember which messages show the request. The first to say so wins.
--
-- Keys  request
-- ARGV  1 request  2 message ids, one a job, separated by commas  3 status message (empty: none)
--       4 what it says (empty: nothing to remember)  5 seconds that the person was told (empty: none)
-- Returns {1, id, wake, id, wake, …} of the jobs that wait to be shown, or {0, messages, status message} as they are.
local key = P .. 'request:' .. ARGV[1]
local f = redis.call('HMGET', key, 'jobs', 'messages', 'status_message', 'strays')
if not f[1] then return {0, '', ''} end
-- The same ones again: the first answer was lost.
local again = f[2] == ARGV[2] and (f[3] or '') == ARGV[3]
if f[2] and not again then return {0, f[2], f[3] or ''} end
local changed = {'messages', ARGV[2]}
local function note(field, value)
  if value ~= '' then changed[#changed + 1], changed[#changed + 2] = field, value end
end
note('status_message', ARGV[3])
note('shown', ARGV[4])
note('shown_at', ARGV[4] ~= '' and NOW or '')
note('eta', ARGV[5])
if not again then redis.call('HSET', key, unpack(changed)) end
-- Of an album they may be noted as not counting before all of it is sent.
if f[4] then set_strays(key, f[4], ARGV[2] .. ',' .. ARGV[3]) end
local out, over = {1}, true
for id in string.gmatch(f[1], '[^,]+') do
  local j = fields(id, 'state', 'told', 'holder', 'wake')
  over = over and has_ended(j)
  if j.holder == '' and (j.state == 'ready' or j.told == '0') then
    due(id, NOW + RESEND)
    out[#out + 1] = id
    out[#out + 1] = j.wake
  end
end
-- It came after the end, which nobody has said in it.
if over then due('r:' .. ARGV[1], NOW) end
return out
