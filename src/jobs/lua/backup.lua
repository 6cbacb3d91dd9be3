-- Everything that must survive, at one moment: nothing can change while a script runs.
--
-- ARGV  1.. what is left out, as beginnings of key names behind the prefix
-- Returns {ms of Redis's clock, key, expiry in ms (0: none), value as DUMP gives it, …}. Of the pictures in `blobs` (delivered ones, kept
--   as originals) only the names are given: {…, key, expiry, ""}; they never change, and are large.
local out = {tostring(NOW)}
local left_out = {}
for i, name in ipairs(ARGV) do left_out[i] = P .. name end
local originals = {}
for _, id in ipairs(redis.call('LRANGE', P .. 'blobs', 0, -1)) do originals[P .. 'blob:' .. id] = true end

local function wanted(key)
  for _, beginning in ipairs(left_out) do
    if string.sub(key, 1, #beginning) == beginning then return false end
  end
  return true
end

local cursor, seen = '0', {}
repeat
  local found = redis.call('SCAN', cursor, 'MATCH', P .. '*', 'COUNT', 1000)
  cursor = found[1]
  for _, key in ipairs(found[2]) do
    if not seen[key] and wanted(key) then
      seen[key] = true
      local left = redis.call('PTTL', key)
      local n = #out
      out[n + 1] = key
      out[n + 2] = left > 0 and NOW + left or 0
      out[n + 3] = originals[key] and '' or redis.call('DUMP', key)
    end
  end
until cursor == '0'
return out
