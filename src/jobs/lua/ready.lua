-- The picture exists: running → ready; the slot goes to the next in line.
--
-- Keys  models, originals, sampled, slots, took
-- ARGV  1 job  2 fence  3 result (JSON)  4 bytes of the picture in our store (0: the result has an address)
--       5 cap of the provider  6 model (its duration is kept)  7 ms that the provider says it took (empty: until now)
--       8 what it says it cost: JSON {unit: millionths}  9 what the generation's span tells (JSON)
-- Returns {1, released…} (also when it is called again), or {0}.

-- Of many that end at once only some are kept, so that the list spans at least two generations: what ended
-- within a second after a common start took equally long, and says little of the others.
local FEW, KEPT = 20, 200
local function sample(model, ms)
  local sampled, took = P .. 'sampled:' .. model, P .. 'took:' .. model
  if redis.call('EXISTS', sampled) == 1 then return end
  local n = redis.call('LPUSH', took, ms)
  if n == 1 or NOW % 16 == 0 then redis.call('EXPIRE', took, 30 * 86400) end
  if n == 1 then redis.call('SADD', P .. 'models', model) end
  if n >= FEW then redis.call('SET', sampled, 1, 'PX', math.max(1, math.floor(2 * ms / KEPT))) end
  if n > KEPT then redis.call('LTRIM', took, 0, KEPT - 1) end
end

local id = ARGV[1]
local f = fields(id, 'state', 'fence', 'created', 'story', 'provider', 'accepted', 'generation', 'spec', 'user', 'charge', 'ticket')
if f.state == 'ready' and f.fence == ARGV[2] then return {1} end
if f.state ~= 'running' or f.fence ~= ARGV[2] then return {0} end
if ARGV[4] ~= '0' and redis.call('HEXISTS', P .. 'originals', 'room') == 1 then
  redis.call('HINCRBY', P .. 'originals', 'room', -ARGV[4])
end
count_last_poll(id, f)
move(id, 'ready', f.created, f.story, 'result', ARGV[3], 'holder', '', 'ready', NOW)
owe_generation(id, f, ARGV[9])
if f.charge ~= '' and ARGV[8] ~= '{}' then
  local costs = cjson.decode(f.charge).costs
  for unit, amount in pairs(cjson.decode(ARGV[8])) do costs[unit] = amount end
  charge(id, f, f.provider, costs)
end
redis.call('SREM', P .. 'slots:' .. f.provider, id)
sample(f.provider .. ':' .. ARGV[6], ARGV[7] ~= '' and tonumber(ARGV[7]) or NOW - tonumber(f.accepted))
local out = {1}
for _, r in ipairs(release(f.provider, tonumber(ARGV[5]), {NOW + RESEND, id})) do out[#out + 1] = r end
return out
