-- A person has paid: they get their pictures, once however often it is told.
--
-- Keys  balance, payments, subscribed, takings
-- ARGV  1 charge id  2 user  3 stars  4 pictures  5 who tells it (an update)  6 until when a subscription is paid, s (0: it is none)
--       7 "1" if with this charge it begins, "0" if not; empty: nobody says
-- Returns {1 if nobody else told it before, pictures that they have bought and not had}
local MONTH, DAY = 2592000, 86400
local known = redis.call('HGET', P .. 'payments', ARGV[1])
local p = known and cjson.decode(known)
if not p then
  p = {user = ARGV[2], stars = tonumber(ARGV[3]), pictures = tonumber(ARGV[4]), teller = ARGV[5], at = NOW}
  redis.call('HINCRBY', P .. 'balance', ARGV[2], ARGV[4])
  redis.call('HINCRBY', P .. 'takings', 'payments', 1)
  redis.call('HINCRBY', P .. 'takings', 'stars', ARGV[3])
  tally(HOUR .. ' stars', tonumber(ARGV[3]))
  if ARGV[6] ~= '0' then
    local s = redis.call('HGET', P .. 'subscribed', ARGV[2])
    s = s and cjson.decode(s) or {}
    local to, begins = tonumber(ARGV[6]), ARGV[7] == '1' or not s.charge
    -- What was stopped, or not paid in time, is not renewed: that is another.
    if ARGV[7] == '' and not begins then begins = s.stopped or to - MONTH > s['until'] + DAY end
    -- Telegram knows a subscription by its first charge.
    if begins then s.charge = ARGV[1] end
    p.of, s['until'], s.stopped = s.charge, to, nil
    redis.call('HSET', P .. 'subscribed', ARGV[2], cjson.encode(s))
  end
  redis.call('HSET', P .. 'payments', ARGV[1], cjson.encode(p))
  redis.call('HSET', P .. 'takings', 'last', NOW)
end
return {p.teller == ARGV[5] and 1 or 0, tonumber(redis.call('HGET', P .. 'balance', ARGV[2]) or '0')}
