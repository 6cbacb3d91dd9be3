-- A person says a code: they get its pictures, once a person.
--
-- Keys  balance, promos, redeemed
-- ARGV  1 code  2 user  3 the update in which they say it
-- Returns {"ok", pictures, pictures that they have bought and not had} (also when it is called again) ; {"known"}: they had
--   it before ; {"gone"}: it was said as often as it may ; {"unknown"}
local promo = redis.call('HGET', P .. 'promos', ARGV[1])
if not promo then return {'unknown'} end
local p, by = cjson.decode(promo), ARGV[1] .. ' ' .. ARGV[2]
local before = redis.call('HGET', P .. 'redeemed', by)
if before and before ~= ARGV[3] then return {'known'} end
if not before then
  if p.left == 0 then return {'gone'} end
  if p.left then
    p.left = p.left - 1
    redis.call('HSET', P .. 'promos', ARGV[1], cjson.encode(p))
  end
  redis.call('HSET', P .. 'redeemed', by, ARGV[3])
  redis.call('HINCRBY', P .. 'balance', ARGV[2], p.pictures)
end
return {'ok', p.pictures, tonumber(redis.call('HGET', P .. 'balance', ARGV[2]) or '0')}
