-- How requests stand, in one look.
--
-- Keys  job, line, request, slots
-- ARGV  requests
-- Returns {ms now, {provider of any of their jobs, its jobs in flight, …}, then for each request that exists {its id,
--   its fields and values, then for each job that exists {its id, place in the line or -1, its fields and values}}}.
local answer, providers, running = {NOW, {}}, {}, {}
for _, request in ipairs(ARGV) do
  local shown = redis.call('HGETALL', P .. 'request:' .. request)
  local stands, ids = {request, shown}, ''
  for i = 1, #shown, 2 do
    if shown[i] == 'jobs' then ids = shown[i + 1] end
  end
  for id in string.gmatch(ids, '[^,]+') do
    local flat, f = redis.call('HGETALL', job_key(id)), {}
    for i = 1, #flat, 2 do f[flat[i]] = flat[i + 1] end
    if f.provider then
      providers[f.provider] = true
      local place = f.state == 'waiting' and redis.call('ZRANK', P .. 'line:' .. f.provider, id)
      stands[#stands + 1] = {id, place or -1, flat}
    end
  end
  if #shown > 0 then answer[#answer + 1] = stands end
end
for provider in pairs(providers) do
  local n = #running
  running[n + 1], running[n + 2] = provider, redis.call('SCARD', P .. 'slots:' .. provider)
end
answer[2] = running
return answer
