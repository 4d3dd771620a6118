-- A log can go back: a restored backup, or a standby promoted without the last commits. Its positions are then given out again. Each
-- process, view and worker remembers the last event it knew (its mark), and asks whether the log still holds that event.
--
-- log.holds(mark)   whether the event at a position is still the one that was recorded there then. Times rise with every batch to
--                   the microsecond, so another history has another one; the stream tells them apart under a clock that is behind.
-- log.rewinds       each mark that the log was found not to hold. `kept_position` is the last event that both histories have.
--                   An operator's `digest resume` answers a rewind; until then it is shown, and the newsletter is held.

create function log.holds(mark_position bigint, mark_at timestamptz, mark_stream uuid) returns boolean language sql stable as $$
    select mark_position = 0 or exists (
        select from log.events e where e.position = mark_position and e.recorded_at = mark_at and e.stream = mark_stream)
$$;

create table log.rewinds (
    known_position bigint      not null,
    known_at       timestamptz not null,
    known_stream   uuid        not null,
    kept_position  bigint      not null,
    noticed_by     text        not null collate "C",
    noticed_at     timestamptz not null default now(),
    answered_at    timestamptz,
    constraint rewinds_pkey primary key (known_position, known_at, known_stream)
);

-- Held in the very commit that tells of the rewind: mails of the lost time may have gone out already.
create function newsletter.hold() returns trigger language plpgsql as $$
begin
    update newsletter.schedule set paused_at = coalesce(paused_at, now());
    return null;
end $$;

create trigger rewinds_hold after insert on log.rewinds for each row when (new.answered_at is null)
    execute function newsletter.hold();

-- Views keep their mark with the checkpoint. A release that doesn't know it moves the position alone, so the mark has its own.
do $$
declare
    checkpoint regclass;
begin
    for checkpoint in
        select c.oid from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'totals_position'
        where c.relname = 'checkpoint' and c.relkind = 'r'
    loop
        execute format('alter table %s add column seen_position bigint not null default 0, add column seen_at timestamptz,'
                       ' add column seen_stream uuid', checkpoint);
        execute format('update %s c set seen_position = position,'
                       ' seen_at = (select e.recorded_at from log.events e where e.position = c.position),'
                       ' seen_stream = (select e.stream from log.events e where e.position = c.position)', checkpoint);
    end loop;
end $$;
