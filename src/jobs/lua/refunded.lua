-- A payment was given back: its pictures go with it, once however often it is told. Whoever has had them already owes them.
--
-- Keys  balance, payments, takings
-- ARGV  1 charge id  2 user  3 stars  4 who tells it (an update)
-- Returns {1 if nobody else told it before, pictures that the person has bought and not had, pictures that went}
local known = redis.call('HGET', P .. 'payments', ARGV[1])
-- One that nobody told us of before gave no pictures, and will give none.
local p = known and cjson.decode(known) or {user = ARGV[2], stars = tonumber(ARGV[3]), pictures = 0, teller = '', at = NOW}
if not p.refunded then
  p.refunded, p.refunder = NOW, ARGV[4]
  redis.call('HSET', P .. 'payments', ARGV[1], cjson.encode(p))
  if p.pictures > 0 then redis.call('HINCRBY', P .. 'balance', p.user, -p.pictures) end
  if not known then
    redis.call('HINCRBY', P .. 'takings', 'payments', 1)
    redis.call('HINCRBY', P .. 'takings', 'stars', p.stars)
    tally(HOUR .. ' stars', p.stars)
  end
  redis.call('HINCRBY', P .. 'takings', 'refunds', 1)
  redis.call('HINCRBY', P .. 'takings', 'refunded', p.stars)
  redis.call('HSET', P .. 'takings', 'last', NOW)
  tally(HOUR .. ' refunded', p.stars)
end
return {p.refunder == ARGV[4] and 1 or 0, tonumber(redis.call('HGET', P .. 'balance', p.user) or '0'), p.pictures}
