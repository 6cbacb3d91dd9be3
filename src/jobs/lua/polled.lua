-- Generations that go on: give each its next look and let it go.
--
-- ARGV  fives: job, fence, ms until the next look, progress (0..1 or empty), how many are ahead (or empty)
-- Returns the ids that were no longer ours.
return go_on(1)
