-- Which boot of the machine an event belongs to, as the kernel names it; NULL where it has no name. Moments of one boot are
-- compared by the monotonic clock, which nobody sets.
ALTER TABLE event ADD COLUMN boot TEXT;
