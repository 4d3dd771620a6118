-- Whoever told others of the log must notice that it went back, also once it has passed their place again.
--
-- webhooks.subscriptions.seen_*  the mark of the last event that a cursor passed: position, time, stream. A log that doesn't hold
--                                it takes the cursor back to what both histories have.
-- purge.progress.rewinds         of how many rewinds the caches were told. What they keep of the lost time nobody knows, so each
--                                one has them forget everything.

alter table webhooks.subscriptions
    add column seen_position bigint not null default 0,
    add column seen_at timestamptz,
    add column seen_stream uuid;

alter table purge.progress add column rewinds bigint not null default 0;
update purge.progress set rewinds = (select count(*) from log.rewinds);
