-- Give free slots to the line (after a setting changed, or a process died between freeing and sending).
--
-- ARGV  1 provider  2 cap
return release(ARGV[1], tonumber(ARGV[2]))
