-- A conditional append: a batch is decided without the head's lock, on what a process guesses or has been answered, and appended
-- in one statement if all that it was decided on still stands.
--
-- log.append_if  append a batch if the last event of each stream is where it is expected (0: there is none), the listing's
--                position as well, the log holds the mark, and there is room for its events. A row of the head (n = 0) with
--                `recorded_at` says that it was done; its `position` is that before the batch. Else nothing is appended, and the
--                answer is what the streams hold as of one snapshot, as `log.lock_and_read` gives it: the head without
--                `recorded_at` (`extra` is the listing's position; `holds` says whether the log has the mark's event) and the last
--                events. The head must be `unmoved` where a command was decided on the event of another one of the same batch.
--
-- log.stand (0066) says whether streams end where they are expected to.
--
-- As exact as a decision under the lock: the check reads head and streams in one snapshot, and the update asks for the very head
-- that the check saw, so nobody appended in between. If somebody did, a second try has the lock before it checks.
-- (stream, version) stays unique, and positions dense, because who appends holds the head's row until the commit, here as there.
-- The log's table is locked before that snapshot is taken: a part that leaves for the archive meanwhile (0054) changes what the table
-- holds at once, and an older snapshot would not say where its ballots are.
-- A batch without events is checked under the lock too: so its commit waits for what it rests on, at the standbys as well.
--
-- Whoever appends takes a turn before all else, by an advisory lock, whose queue is fair. The lock of the head's row isn't: each update
-- makes a new row, for which those who wait for the old one stand behind whoever comes at that moment. So a process that never rested
-- would leave another a few batches a second. No decision rests on the turn: a release that takes none is kept out by the head.

create function log.append_if(
    streams uuid[], positions bigint[], listing bigint, unmoved bigint, room bigint,
    mark_position bigint, mark_at timestamptz, mark_stream uuid,
    to_streams uuid[], versions integer[], schema_versions smallint[], types text[], new_data text[], metas text[]
)
returns table (n integer, version integer, "position" bigint, type text, schema_version smallint, data jsonb, extra bigint,
               holds boolean, recorded_at timestamptz)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    before log.head;
    stands boolean;
    at timestamptz;
begin
    perform pg_advisory_xact_lock(1751474532);
    lock table only log.events in access share mode;
    for try in 1..2 loop
        if try = 2 then
            perform from log.head h for update;
        end if;
        select h.position, h.recorded_at,
               h.listing_position = listing and (unmoved is null or h.position = unmoved)
               and (cardinality(to_streams) = 0 or h.position + cardinality(to_streams) <= room)
               and log.holds(mark_position, mark_at, mark_stream)
               and log.stand(streams, positions)
        into before.position, before.recorded_at, stands
        from log.head h;
        if not stands then
            return query
            select 0, 0, h.position, ''::text, 0::smallint, null::jsonb, h.listing_position,
                   log.holds(mark_position, mark_at, mark_stream), null::timestamptz
            from log.head h
            union all
            select e.n, e.version, e.position, e.type, e.schema_version, e.data, null::bigint, null::boolean, null::timestamptz
            from log.lasts(streams) e;
            return;
        end if;
        if cardinality(to_streams) = 0 then
            continue when try = 1;
            at := before.recorded_at;
        else
            with batch as (
                update log.head h
                set position = h.position + cardinality(to_streams),
                    recorded_at = greatest(clock_timestamp(), h.recorded_at + interval '1 microsecond')
                where h.position = before.position and h.recorded_at = before.recorded_at
                returning h.recorded_at
            ),
            added as (
                insert into log.events (stream, position, recorded_at, version, schema_version, type, data, meta)
                select e.stream, before.position + e.n, batch.recorded_at, coalesce(e.version, versions[1]),
                       coalesce(e.schema_version, schema_versions[1]), coalesce(e.type, types[1]), e.data::jsonb, e.meta::jsonb
                from batch, unnest(to_streams, versions, schema_versions, types, new_data, metas) with ordinality
                    as e(stream, version, schema_version, type, data, meta, n)
            )
            select b.recorded_at into at from batch b;
        end if;
        if at is not null then
            return query select 0, 0, before.position, ''::text, 0::smallint, null::jsonb, listing, true, at;
            return;
        end if;
    end loop;
end $$;
