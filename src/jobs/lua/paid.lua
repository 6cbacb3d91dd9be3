-- A person has paid: they get their pictures, once however often it is told.
--
-- Keys  balance, payments, subscribed, takings
-- ARGV  1 charge id  2 user  3 stars  4 pictures  5 who tells it (an update)  6 until when a subscription is paid, s (0: it is none)
--       7 "1": with this charge it begins
-- Returns {1 if nobody else told it before, pictures that they have bought and not had}
local known = redis.call('HGET', P .. 'payments', ARGV[1])
local p = known and cjson.decode(known)
if not p then
  p = {user = ARGV[2], stars = tonumber(ARGV[3]), pictures = tonumber(ARGV[4]), teller = ARGV[5], at = NOW}
  redis.call('HSET', P .. 'payments', ARGV[1], cjson.encode(p))
  redis.call('HINCRBY', P .. 'balance', ARGV[2], ARGV[4])
  redis.call('HINCRBY', P .. 'takings', 'payments', 1)
  redis.call('HINCRBY', P .. 'takings', 'stars', ARGV[3])
  if ARGV[6] ~= '0' then
    local s = redis.call('HGET', P .. 'subscribed', ARGV[2])
    s = s and cjson.decode(s) or {}
    -- Telegram knows a subscription by its first charge.
    if ARGV[7] == '1' or not s.charge then s.charge = ARGV[1] end
    s['until'], s.stopped = tonumber(ARGV[6]), nil
    redis.call('HSET', P .. 'subscribed', ARGV[2], cjson.encode(s))
  end
end
return {p.teller == ARGV[5] and 1 or 0, tonumber(redis.call('HGET', P .. 'balance', ARGV[2]) or '0')}
