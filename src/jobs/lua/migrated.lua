-- A group has become a supergroup, with another id: what is open goes on there, and what its admins chose. Messages of the old group can be changed
-- no more, and their numbers are others' in the new one.
--
-- Keys  became, chat, open, request
-- ARGV  1 the group's id  2 the supergroup's  3 a request of it (empty: those of 'open')
-- Returns how many requests went along
redis.call('SET', P .. 'became:' .. ARGV[1], ARGV[2])
if redis.call('EXISTS', P .. 'chat:' .. ARGV[1]) == 1 then
  redis.call('RENAMENX', P .. 'chat:' .. ARGV[1], P .. 'chat:' .. ARGV[2])
end
local ids = redis.call('ZRANGE', P .. 'open', 0, -1)
if ARGV[3] ~= '' then ids[#ids + 1] = ARGV[3] end
local moved = 0
for _, id in ipairs(ids) do
  local key = P .. 'request:' .. id
  if redis.call('HGET', key, 'chat') == ARGV[1] then
    redis.call('HSET', key, 'chat', ARGV[2])
    redis.call('HDEL', key, 'messages', 'status_message', 'reply_to', 'shown', 'shown_at', 'sendings', 'changing', 'previewing', 'previewed', 'strays', 'uncounted')
    moved = moved + 1
  end
end
return moved
