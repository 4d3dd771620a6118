-- log.whole   the last position below which a reader misses nothing. On one server that is the head. On several, the head of a batch can
--             be seen a moment before all its events (`events/log/citus.sql`), so whoever keeps a place in the log, and reads on from
--             there by itself, asks here and not at the head. A window needn't: it counts its events.
-- log.holds   as before, an archived ballot by its time, which no other batch has. Whatever its part's state: the snapshot may be older
--             than the part's leaving. Its plan is kept by the session, so whoever locks the head can afford to call it.

create function log.whole() returns table ("position" bigint) language sql stable parallel safe as $$
    select h.position from log.head h
$$;

create or replace function log.holds(mark_position bigint, mark_at timestamptz, mark_stream uuid) returns boolean
language plpgsql stable as $$
begin
    return mark_position = 0 or exists (
        select from log.events e where e.position = mark_position and e.recorded_at = mark_at and e.stream = mark_stream)
        or log.time_of(mark_position) = mark_at
           and exists (select from log.archives a where mark_position between a.first_position and a.last_position);
end $$;
