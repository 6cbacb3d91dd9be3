-- An act on one broadcast; nothing happens where another stands in its place.
--
-- KEYS[1]  the prefix P of all keys; what each is stands in `src/jobs/keys.py`
-- Keys  audience, broadcast, people
-- ARGV  1 the broadcast's number  2 the act, and what it needs:
--   start  3 who begins it  4 the notice  5 seconds for which it is kept
--   turn   3 the state it is in (empty: any)  4 the state it comes into
--   tick   3 a person  4 what became of it for them (broadcasting.Reached); who is there no more stays so
-- Returns 1: done (start: also if it had begun before), 0: it is not there, not in that state, or another has not ended.
local P, number, act = KEYS[1], ARGV[1], ARGV[2]
local broadcast, audience = P .. 'broadcast', P .. 'audience'
local state = redis.call('HGET', broadcast, 'state')
local there = state and (redis.call('HGET', broadcast, 'number') or '') == number
if act == 'start' then
  if there then return 1 end
  if state and state ~= 'done' then return 0 end
  redis.call('DEL', broadcast)
  redis.call('ZUNIONSTORE', audience, 1, P .. 'people', 'WEIGHTS', 0)
  redis.call('HSET', broadcast, 'number', number, 'state', 'running', 'by', ARGV[3], 'notice', ARGV[4])
  redis.call('EXPIRE', broadcast, ARGV[5])
  redis.call('EXPIRE', audience, ARGV[5])
  return 1
end
if not there then return 0 end
if act == 'tick' then
  redis.call('ZADD', audience, 'XX', ARGV[4], ARGV[3])
elseif ARGV[3] == '' or ARGV[3] == state then
  redis.call('HSET', broadcast, 'state', ARGV[4])
else
  return 0
end
return 1
