-- Of a placeholder that went out it is known that it is not in the chat, or which it is; or one may have stayed.
--
-- Keys  request
-- ARGV  1 request  2 -1, or 1
-- Returns how many may be in the chat
local key = P .. 'request:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 0 end
return redis.call('HINCRBY', key, 'sendings', ARGV[2])
