-- What is open, at one moment: nothing can change while a script runs. What has ended stays as it is, and is
-- read without one.
--
-- Keys  active, blob, due, job, open, request, takings
-- ARGV  1.. names of more keys, behind the prefix
-- Returns {ms of Redis's clock, key, expiry in ms (0: none), value as DUMP gives it, …}. Of pictures that open jobs
--   may need only the names are given, wherever they are kept: {…, key, 0, ""}. Or {}: in this very ms there was a
--   payment or a refund, and nobody could tell it from one after the moment.
if redis.call('HGET', P .. 'takings', 'last') == tostring(NOW) then return {} end
local out, seen = {tostring(NOW)}, {}

local function put(key, large)
  if seen[key] then return end
  seen[key] = true
  local value = large and '' or redis.call('DUMP', key)
  if not value then return end
  local left, n = redis.call('PTTL', key), #out
  out[n + 1], out[n + 2], out[n + 3] = key, left > 0 and NOW + left or 0, value
end

for _, name in ipairs({'due', 'open', 'counts', 'ended', 'failed', 'balance', 'subscribed', 'takings', 'promos', 'redeemed'}) do put(P .. name) end
for _, name in ipairs({'spent:', 'spender:', 'free:'}) do
  for day = TODAY - 1, TODAY do put(P .. name .. day) end
end
for _, name in ipairs(ARGV) do put(P .. name) end
for _, id in ipairs(redis.call('ZRANGE', P .. 'due', 0, -1)) do
  local request = string.match(id, '^r:(.+)')
  if not request then
    local f = fields(id, 'state', 'user', 'request', 'provider', 'spec')
    request = f.request
    put(job_key(id))
    for _, name in ipairs({'line:', 'tags:', 'slots:'}) do put(P .. name .. f.provider) end
    put(P .. 'active:' .. f.user)
    if f.state == 'ready' or f.state == 'delivering' then put(P .. 'blob:' .. id, true) end
    local source = f.spec ~= '' and cjson.decode(f.spec).source
    if type(source) == 'string' and string.find(source, '^upload:') then put(P .. source, true) end
  end
  put(P .. 'request:' .. request)
end
for _, id in ipairs(redis.call('ZRANGE', P .. 'open', 0, -1)) do put(P .. 'request:' .. id) end
return out
