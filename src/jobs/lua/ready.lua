-- The picture exists: running → ready; the slot goes to the next in line.
--
-- ARGV  1 job  2 fence  3 result (JSON)  4 picture's bytes (empty: the result has an address)  5 cap of the provider
--       6 model (its duration is kept)  7 blob ttl, s  8 ms that the provider says it took (empty: until now)
-- Returns {1, released…} (also when it is said again), or {0}.
local id = ARGV[1]
local f = fields(id, 'state', 'fence', 'created', 'story', 'provider', 'accepted')
if f.state == 'ready' and f.fence == ARGV[2] then return {1} end
if f.state ~= 'running' or f.fence ~= ARGV[2] then return {0} end
if ARGV[4] ~= '' then redis.call('SET', P .. 'blob:' .. id, ARGV[4], 'EX', ARGV[7]) end
move(id, 'ready', tonumber(f.created), f.story, 'result', ARGV[3], 'holder', '', 'ready', NOW)
redis.call('SREM', P .. 'slots:' .. f.provider, id)
local took = P .. 'took:' .. f.provider .. ':' .. ARGV[6]
redis.call('LPUSH', took, ARGV[8] ~= '' and ARGV[8] or NOW - tonumber(f.accepted))
redis.call('LTRIM', took, 0, 199)
redis.call('SADD', P .. 'models', f.provider .. ':' .. ARGV[6])
due(id, NOW + RESEND)
local out = {1}
for _, r in ipairs(release(f.provider, tonumber(ARGV[5]))) do out[#out + 1] = r end
return out
