-- An act on one broadcast; nothing happens where another stands in its place.
--
-- KEYS[1]  the prefix P of all keys; what each is stands in `src/jobs/keys.py`
-- Keys  audience, broadcast, people
-- ARGV  1 the broadcast's number  2 the act, and what it needs:
--   start  3 who begins it  4 the notice  5 seconds for which it is kept
--   gather 3 where in `people` ("0": at their beginning)  4 as start's 5
--   turn   3 the state it is in (empty: any)  4 the state it comes into
--   tick   3 a person  4 what became of it for them (broadcasting.Reached); who is there no more stays so
-- Returns 1: done (start: also if it had begun before), 0: it is not there, not in that state, or another has not ended;
--   of gather: where to go on ("0": all are there).
-- While not all of `people` are in `audience`, the broadcast says `gathering`: Redis serves others between two pages.
local PAGE = 500
local P, number, act = KEYS[1], ARGV[1], ARGV[2]
local broadcast, audience = P .. 'broadcast', P .. 'audience'
local state = redis.call('HGET', broadcast, 'state')
local there = state and (redis.call('HGET', broadcast, 'number') or '') == number

local function gather(cursor, kept)
  local page, rows = redis.call('ZSCAN', P .. 'people', cursor, 'COUNT', PAGE), {}
  for i = 1, #page[2], 2 do rows[i], rows[i + 1] = 0, page[2][i] end
  if #rows > 0 then redis.call('ZADD', audience, 'NX', unpack(rows)) end
  redis.call('EXPIRE', audience, kept)
  if page[1] == '0' then redis.call('HDEL', broadcast, 'gathering') end
  return page[1]
end

if act == 'start' then
  if there then return 1 end
  if state and state ~= 'done' then return 0 end
  redis.call('UNLINK', broadcast, audience)
  redis.call('HSET', broadcast, 'number', number, 'state', 'running', 'by', ARGV[3], 'notice', ARGV[4], 'gathering', 1)
  redis.call('EXPIRE', broadcast, ARGV[5])
  gather('0', ARGV[5])
  return 1
end
if not there then return 0 end
if act == 'gather' then return gather(ARGV[3], ARGV[4]) end
if act == 'tick' then
  redis.call('ZADD', audience, 'XX', ARGV[4], ARGV[3])
elseif ARGV[3] == '' or ARGV[3] == state then
  redis.call('HSET', broadcast, 'state', ARGV[4])
else
  return 0
end
return 1
