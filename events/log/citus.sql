-- The functions of the log for a table that is spread over several servers (Citus). `migrate` runs this file whenever it has changed
-- the schema of such a log, in the same transaction. It is plain PostgreSQL, and the tests run it there.
--
-- Citus plans a statement that names a distributed table by rules of its own: no lateral subquery with a limit, no update from such a
-- table, few joins with local tables. A function in PL/pgSQL is opaque to it. So each of these reads the log alone, by a statement that
-- Citus plans well, and what the caller does with the rows is PostgreSQL's own.
--
-- A batch is committed on the coordinator first, and a moment later on each server that holds events of it. So the head can be seen
-- before its events. `log.head.previous` is the head before the last batch; who locks the head waits until every event of that batch is
-- there, so the head of any earlier batch was whole when the next one began. Whoever waits for a second gives up: a server is away.

alter table log.head add column if not exists previous bigint not null default 0;

create or replace function log.note_previous() returns trigger language plpgsql as $$
begin
    new.previous := least(old.position, new.position);
    return new;
end $$;
create or replace trigger head_previous before update on log.head
    for each row when (new.position <> old.position) execute function log.note_previous();

create or replace function log.is_whole(last log.head) returns boolean language plpgsql volatile as $$
begin
    return last.position - last.previous = (
        select count(*) from log.events e where e.position > last.previous and e.position <= last.position);
end $$;

-- After an import the whole log is one batch. Once it is known to be there, nobody counts it again.
create or replace function log.lock_whole() returns log.head language plpgsql volatile as $$
declare
    last  log.head;
    until timestamptz := clock_timestamp() + interval '1 second';
begin
    perform pg_advisory_xact_lock(1751474532);  -- a turn, as log.append_if takes it
    select h.* into last from log.head h for update;
    while not log.is_whole(last) loop
        if clock_timestamp() > until then
            raise exception 'events of positions % to % are not there yet: a server of the log is slow or away',
                last.previous + 1, last.position using errcode = 'lock_not_available';
        end if;
        perform pg_sleep(0.005);
    end loop;
    if last.position - last.previous > 10000 then
        update log.head h set previous = last.position;
    end if;
    return last;
end $$;

create or replace function log.whole() returns table ("position" bigint) language plpgsql volatile as $$
declare
    last log.head;
begin
    select h.* into last from log.head h;
    return query select case when log.is_whole(last) then last.position else last.previous end;
end $$;

-- No more than 64 events of a stream are searched, for a voter may change a ballot without end. Of one that has as many, the last is
-- asked for alone: a look at one server's key.
create or replace function log.lasts(streams uuid[])
returns table (n integer, version integer, "position" bigint, type text, schema_version smallint, data jsonb)
language plpgsql volatile as $$
declare
    one record;
begin
    for one in
        with found as materialized (
            select distinct on (r.stream) r.stream, r.version, r.position, r.type, r.schema_version, r.data
            from log.recorded_events r where r.stream = any(streams) and r.version <= 64 order by r.stream, r.version desc
        )
        select s.n::integer as n, f.stream, f.version, f.position, f.type, f.schema_version, f.data
        from unnest(streams) with ordinality as s(stream, n) join found f on f.stream = s.stream
    loop
        if one.version < 64 then
            return query select one.n, one.version, one.position, one.type, one.schema_version, one.data;
        else
            return query
            select one.n, r.version, r.position, r.type, r.schema_version, r.data
            from log.recorded_events r where r.stream = one.stream order by r.version desc limit 1;
        end if;
    end loop;
end $$;

create or replace function log.lock_and_read(streams uuid[])
returns table (n integer, version integer, "position" bigint, type text, schema_version smallint, data jsonb, extra bigint)
language plpgsql volatile as $$
begin
    return query select 0, 0, h.position, ''::text, 0::smallint, null::jsonb, h.listing_position from log.lock_whole() h;
    return query select l.n, l.version, l.position, l.type, l.schema_version, l.data, null::bigint from log.lasts(streams) l;
end $$;

-- An append without the lock can't be exact here: this answer sends whoever tries to the lock at once.
create or replace function log.append_if(
    streams uuid[], positions bigint[], listing bigint, unmoved bigint, room bigint,
    mark_position bigint, mark_at timestamptz, mark_stream uuid,
    to_streams uuid[], versions integer[], schema_versions smallint[], types text[], new_data text[], metas text[]
)
returns table (n integer, version integer, "position" bigint, type text, schema_version smallint, data jsonb, extra bigint,
               holds boolean, recorded_at timestamptz)
language plpgsql volatile as $$
begin
    return query
    select 0, 0, h.position, ''::text, 0::smallint, null::jsonb, -1::bigint, true, null::timestamptz from log.head h;
end $$;

create or replace function log.taken(low bigint, high bigint, dropped bigint[] default '{}', types text[] default null)
returns setof log.recorded_events language plpgsql stable as $$
begin
    return query
    select r.stream, r.version, r.position, r.type, r.schema_version, r.data, r.meta, r.recorded_at from log.recorded_events r
    where r.position > low and r.position <= high and r.position <> all(dropped) and (types is null or r.type = any(types));
end $$;

create or replace function log.of_stream(stream uuid) returns setof log.recorded_events language plpgsql stable as $$
begin
    return query
    select r.stream, r.version, r.position, r.type, r.schema_version, r.data, r.meta, r.recorded_at from log.recorded_events r
    where r.stream = of_stream.stream;
end $$;

create or replace function log.between_streams(low uuid, high uuid) returns setof log.recorded_events language plpgsql stable as $$
begin
    return query
    select r.stream, r.version, r.position, r.type, r.schema_version, r.data, r.meta, r.recorded_at from log.recorded_events r
    where r.stream between low and high;
end $$;

create or replace function log.at_position(place bigint) returns setof log.recorded_events language plpgsql stable as $$
begin
    return query
    select r.stream, r.version, r.position, r.type, r.schema_version, r.data, r.meta, r.recorded_at from log.recorded_events r
    where r.position = place;
end $$;

create or replace function log.newest_others(number bigint) returns setof log.recorded_events language plpgsql stable as $$
begin
    return query
    select o.stream, o.version, o.position, o.type, o.schema_version, o.data, o.meta, o.recorded_at from log.other_events o
    order by o.position desc limit number;
end $$;

create or replace function log.operators() returns table (name text) language plpgsql stable as $$
begin
    return query
    select distinct e.meta->>'operator' from log.events e
    where e.meta ? 'operator' and e.type not in ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored');
end $$;

create or replace function log.newest_operated(of_type text, below bigint, above bigint, number bigint)
returns setof log.recorded_events language plpgsql stable as $$
begin
    return query
    select e.stream, e.version, e.position, e.type, e.schema_version, e.data, e.meta, e.recorded_at from log.recorded_events e
    where e.meta ? 'operator' and e.type not in ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored')
      and e.type = of_type and e.position < below and e.position > above
    order by e.position desc limit number;
end $$;

create or replace function log.newest_operated_by(operator text, of_type text, below bigint, above bigint, number bigint)
returns setof log.recorded_events language plpgsql stable as $$
begin
    return query
    select e.stream, e.version, e.position, e.type, e.schema_version, e.data, e.meta, e.recorded_at from log.recorded_events e
    where e.meta->>'operator' = newest_operated_by.operator and e.meta ? 'operator'
      and e.type not in ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored')
      and e.type = of_type and e.position < below and e.position > above
    order by e.position desc limit number;
end $$;

create or replace function log.time_of(place bigint) returns timestamptz language plpgsql stable as $$
begin
    return (select e.recorded_at from log.events e where e.position = place);
end $$;

-- The table itself, for what is made of events as they were written.
create or replace function log.rows_taken(low bigint, high bigint) returns setof log.events language plpgsql stable as $$
begin
    return query select e.* from log.events e where e.position > low and e.position <= high;
end $$;

-- What is spelled in one place stays there: these three are made of the words of the view or function that has them, which then read
-- the log by the functions above.
create or replace function log.reading_by(words text, source text, by_function text) returns text language plpgsql immutable as $$
begin
    if strpos(words, source) = 0 then
        raise exception 'these words do not read the log as expected (%): %', source, words;
    end if;
    return replace(words, source, by_function);
end $$;

do $do$
declare
    subscriber text := pg_get_functiondef('newsletter.subscriber(text)'::regprocedure);
begin
    execute format($f$
        create or replace function log.changes_taken(low bigint, high bigint, dropped bigint[] default '{}')
        returns setof log.tally_changes language plpgsql stable as $$
        #variable_conflict use_column
        begin
            return query %s;
        end $$ $f$, log.reading_by(rtrim(pg_get_viewdef('log.tally_changes'::regclass), ';'), 'log.recorded_events e',
        $s$log.taken(low, high, dropped, '{VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated}') e$s$));
    execute format($f$
        create or replace function log.entries_taken(low bigint, high bigint)
        returns setof log.public_entries language plpgsql stable as $$
        #variable_conflict use_column
        begin
            return query %s;
        end $$ $f$, log.reading_by(rtrim(pg_get_viewdef('log.public_entries'::regclass), ';'), 'log.events e',
        'log.rows_taken(low, high) e'));
    if strpos(subscriber, 'log.of_stream') = 0 then
        execute log.reading_by(subscriber, 'log.recorded_events e where e.stream = newsletter.stream_of(id)',
                               'log.of_stream(newsletter.stream_of(id)) e');
    end if;
end $do$;

drop function log.reading_by(text, text, text);
