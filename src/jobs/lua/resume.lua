-- The last step of a restore: the clock of the jobs in flight goes on where the backup stopped it.
--
-- Keys  due, job
-- ARGV  1 ms between the backup and now  2 `due` as DUMP gave it (empty: there was nothing due)
-- Returns how many jobs go on.
if ARGV[2] == '' then return 0 end
redis.call('RESTORE', P .. 'due', 0, ARGV[2], 'REPLACE')
local count = 0
for _, id in ipairs(redis.call('ZRANGE', P .. 'due', 0, -1)) do
  redis.call('ZINCRBY', P .. 'due', ARGV[1], id)
  if redis.call('EXISTS', job_key(id)) == 1 then
    count = count + 1
    -- Else a night without a machine would be the time that a generation took.
    for _, name in ipairs({'created', 'deadline', 'accepted', 'ready', 'released'}) do
      if redis.call('HEXISTS', job_key(id), name) == 1 then redis.call('HINCRBY', job_key(id), name, ARGV[1]) end
    end
  end
end
return count
