-- Messages that do not count and are to be deleted: some more, or fewer.
--
-- Keys  due, request
-- ARGV  1 request  2 ids that do not count, separated by commas  3 ids that are gone  4 ms until those are looked after
--       5 "1": with the last of them a placeholder is known that `sending` has counted, and it counts no more
-- Returns how many are left
local key = P .. 'request:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 0 end
local left = set_strays(key, (redis.call('HGET', key, 'strays') or '') .. ',' .. ARGV[2], ARGV[3])
if ARGV[5] == '1' then
  -- Who sent it says so, and whoever taps it: once for all of them.
  local known, last = redis.call('HGET', key, 'uncounted') or ',', string.match(ARGV[2], '[^,]+$')
  if not string.find(known, ',' .. last .. ',', 1, true) then
    redis.call('HSET', key, 'uncounted', known .. last .. ',')
    redis.call('HINCRBY', key, 'sendings', -1)
  end
end
if ARGV[2] ~= '' then redis.call('ZADD', P .. 'due', 'NX', NOW + ARGV[4], 'r:' .. ARGV[1]) end
return left
