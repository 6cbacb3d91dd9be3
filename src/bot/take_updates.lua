-- Take updates that Telegram gave: each once, however often it is given.
--
-- KEYS[1]  the prefix P of all keys; what each is stands in `src/jobs/keys.py`
-- Keys  seen, updates
-- ARGV  1 bot's id  2 seconds for which an update is known  3 most entries  4.. per update its id and JSON
-- Returns how many were new; -1: the stream is full and none was taken.
local P, bot = KEYS[1], ARGV[1]
local inbox = P .. 'updates:' .. bot
if redis.call('XLEN', inbox) >= tonumber(ARGV[3]) then return -1 end
local new = 0
for i = 4, #ARGV, 2 do
  if redis.call('SET', P .. 'seen:' .. bot .. ':' .. ARGV[i], 1, 'NX', 'EX', ARGV[2]) then
    redis.call('XADD', inbox, '*', 'update', ARGV[i + 1])
    new = new + 1
  end
end
return new
