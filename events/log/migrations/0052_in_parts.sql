-- concurrently
-- The log's table becomes the first of its parts, beside votes. Each step is a transaction of its own, and may be taken again: a
-- `migrate` that was killed leaves a log that works, and the next one goes on.

-- A check on positions that are yet to come.
select log.bound_first_part();

-- Reads the whole table, while everybody reads and appends.
select log.check_first_part();

-- Everybody waits for some milliseconds.
select log.part_events();
