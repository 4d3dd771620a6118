-- The archive: a part of the log that has long been full can leave for a file, and little of it stays here.
--
-- log.archives          a row a part that was written to a file: where it is, and the hash chain of its events. Its state says what
--                       this database holds. `written`: all of the part. `packed`: what follows. `loaded`: all of it, for as long as
--                       somebody reads it. Only `packed` changes what anybody sees.
-- log.archived_ballots  the ballots of a packed part, by voter: nearly all events are ballots, and whoever decides on one, takes
--                       a voter's out, or tells a visitor what is kept of it, asks by voter. All other events stay in log.events.
-- log.archived_tools    numbers for the tools that they are on.
-- log.archived_times    the times of all events of a packed part, 1,024 positions a row, so that a position is a time as ever.
--
-- So what goes by a stream or a voter needs no file, and what goes by position below a packed part does: it must ask
-- log.must_be_here first, or it would take ballots for missing.

create table log.archives (
    part           integer     not null,
    first_position bigint      not null,
    last_position  bigint      not null,
    first_at       timestamptz not null,
    last_at        timestamptz not null,
    place          text        not null,
    name           text        not null,
    bytes          bigint      not null,
    chain          text        not null,
    state          text        not null default 'written',
    written_at     timestamptz not null default now(),
    constraint archives_pkey primary key (part),
    constraint archives_part_fkey foreign key (part) references log.parts (part),
    constraint archives_state check (state in ('written', 'packed', 'loaded'))
);

-- `owner` and `rest` are the two halves of the voter's id; a ballot's stream begins with the first of them. `ballots` has 19 bytes
-- an event: 8 of the stream's second half, 4 of the position from the part's first, 4 of the tool's number, 2 of the version, and
-- one that says which choice took the place of which. A row has at most 64 of them, so it is never stored apart, and a vote of
-- somebody with very many takes no longer than it may under the head's lock.
create table log.archived_ballots (
    owner   bigint  not null,
    rest    bigint  not null,
    part    integer not null,
    ballots bytea   not null
);
alter table log.archived_ballots alter column ballots set storage main;
create index archived_ballots_owner_idx on log.archived_ballots (owner);

create table log.archived_tools (
    number integer generated always as identity,
    tool   text not null collate "C",
    constraint archived_tools_pkey primary key (number),
    constraint archived_tools_tool_key unique (tool)
);

create table log.archived_times (
    first_position bigint        not null,
    times          timestamptz[] not null,
    constraint archived_times_pkey primary key (first_position)
);

-- The halves of a uuid, and back.
create function log.first_half(id uuid) returns bigint language sql immutable strict parallel safe as $$
    select ('x' || left(translate(id::text, '-', ''), 16))::bit(64)::bigint
$$;

create function log.second_half(id uuid) returns bigint language sql immutable strict parallel safe as $$
    select ('x' || right(translate(id::text, '-', ''), 16))::bit(64)::bigint
$$;

create function log.of_halves(first bigint, second bigint) returns uuid language sql immutable strict parallel safe as $$
    select encode(int8send(first) || int8send(second), 'hex')::uuid
$$;

-- An id as 22 characters of base64url, and the uuid of the same bytes: null for what is no id.
create function log.id_of(id uuid) returns text language sql immutable strict parallel safe as $$
    select translate(rtrim(encode(uuid_send(id), 'base64'), '='), '+/', '-_')
$$;

create function log.uuid_of(id text) returns uuid language sql immutable parallel safe as $$
    select case when id ~ '^[A-Za-z0-9_-]{21}[AQgw]$' then encode(decode(translate(id, '-_', '+/') || '==', 'base64'), 'hex')::uuid end
$$;

-- What a ballot's last byte says: 3 times the choice and the one before, each 0 (none), 1 (ship) or 2 (skip).
create function log.choice_number(choice text) returns integer language sql immutable parallel safe as $$
    select case when choice is null then 0 when choice = 'ship' then 1 when choice = 'skip' then 2 end
$$;

create function log.choice_name(number integer) returns text language sql immutable parallel safe as $$
    select case number when 1 then 'ship' when 2 then 'skip' end
$$;

create function log.unpack(owner bigint, ballots bytea)
returns table (stream uuid, place bigint, tool integer, version integer, kind integer)
language sql immutable parallel safe as $$
    select encode(int8send(owner) || substring(ballots from 19 * n + 1 for 8), 'hex')::uuid,
           ('x' || encode(substring(ballots from 19 * n + 9 for 4), 'hex'))::bit(32)::bigint,
           ('x' || encode(substring(ballots from 19 * n + 13 for 4), 'hex'))::bit(32)::integer,
           ('x' || encode(substring(ballots from 19 * n + 17 for 2), 'hex'))::bit(16)::integer,
           get_byte(ballots, 19 * n + 18)
    from generate_series(0, length(ballots) / 19 - 1) n
$$;

-- When the event at a position was recorded, wherever it is; null beyond the log.
create function log.time_of(place bigint) returns timestamptz language sql stable as $$
    select coalesce(
        (select e.recorded_at from log.events e where e.position = place),
        (select t.times[place - t.first_position + 1] from log.archived_times t
         where t.first_position <= place order by t.first_position desc limit 1))
$$;

create or replace function log.position_at(at timestamptz) returns bigint language plpgsql stable as $$
declare
    low bigint := 0;
    high bigint;
    middle bigint;
begin
    select h.position into high from log.head h;
    while low < high loop
        middle := (low + high + 1) / 2;
        if log.time_of(middle) <= at then
            low := middle;
        else
            high := middle - 1;
        end if;
    end loop;
    return low;
end $$;

create function log.ballot_type(kind integer) returns text language sql immutable parallel safe as $$
    select case when kind >= 3 then 'VoteCast' else 'VoteRetracted' end collate "C"
$$;

create function log.ballot_data(voter text, tool_number integer, kind integer) returns jsonb language sql stable parallel safe as $$
    select jsonb_strip_nulls(jsonb_build_object(
        'voter', voter, 'tool', (select t.tool from log.archived_tools t where t.number = tool_number),
        'choice', log.choice_name(kind / 3), 'previous', log.choice_name(kind % 3)))
$$;

-- The ballots of packed parts, as the log's other events are read: those beside one owner, and of it alone.
create function log.archived_ballots_of(asked bigint)
returns table (stream uuid, version integer, "position" bigint, type text, schema_version smallint, data jsonb, meta jsonb,
               recorded_at timestamptz)
language sql stable as $$
    select u.stream, u.version, a.first_position + u.place, log.ballot_type(u.kind), 1::smallint,
           log.ballot_data(log.id_of(log.of_halves(b.owner, b.rest)), u.tool, u.kind),
           null::jsonb, log.time_of(a.first_position + u.place)
    from log.archived_ballots b
    join log.archives a on a.part = b.part and a.state = 'packed'
    cross join lateral log.unpack(b.owner, b.ballots) u
    where b.owner = asked
$$;

-- The last of them of one stream. Rows without its bytes aren't unpacked, and the newest that has it ends the search.
create function log.archived_last(asked uuid)
returns table (version integer, "position" bigint, type text, schema_version smallint, data jsonb)
language plpgsql stable rows 1 as $$
declare
    packed record;
begin
    for packed in
        select a.first_position, b.owner, b.rest, b.ballots
        from log.archived_ballots b join log.archives a on a.part = b.part and a.state = 'packed'
        where b.owner = log.first_half(asked) and position(substring(uuid_send(asked) from 9) in b.ballots) > 0
        order by b.part desc, substring(b.ballots from 9 for 4) desc
    loop
        return query
        select u.version, packed.first_position + u.place, log.ballot_type(u.kind), 1::smallint,
               log.ballot_data(log.id_of(log.of_halves(packed.owner, packed.rest)), u.tool, u.kind)
        from log.unpack(packed.owner, packed.ballots) u where u.stream = asked order by u.version desc limit 1;
        exit when found;
    end loop;
end $$;

-- Those of a range of streams beside one owner, which is any range that an id's own streams make. Another range is refused.
create function log.archived_between(low uuid, high uuid)
returns table (stream uuid, version integer, "position" bigint, type text, schema_version smallint, data jsonb, meta jsonb,
               recorded_at timestamptz)
language plpgsql stable rows 5 as $$
begin
    if not exists (select from log.archives a where a.state = 'packed') then
        return;
    end if;
    if log.first_half(low) <> log.first_half(high) then
        raise exception 'streams of more than one owner are asked for at once' using errcode = 'feature_not_supported';
    end if;
    return query select b.* from log.archived_ballots_of(log.first_half(low)) b where b.stream between low and high;
end $$;

-- True if every event of (low, high] is in log.events. Raises BP002 if some of them are in an archive alone. What reads by position
-- through log.taken and its like asks this by itself.
create function log.refuse_archived(low bigint, high bigint) returns boolean language plpgsql stable parallel safe as $$
declare
    away log.archives;
begin
    select * into away from log.archives a
    where a.state = 'packed' and a.last_position > low and a.first_position <= high order by a.first_position limit 1;
    raise exception 'the events at positions % to % are in the archive', away.first_position, away.last_position
        using errcode = 'BP002', hint = format('`ballotpress events unarchive %s` brings them back', away.part);
end $$;

-- Most logs have no archive, and some statements ask for each of many short ranges: the first question, which has no argument, is
-- planned once a session, also where all else is planned anew each time.
create function log.must_be_here(low bigint, high bigint) returns boolean language plpgsql stable parallel safe as $$
begin
    if not exists (select from log.archives a where a.state = 'packed') then
        return true;
    end if;
    if low < high and exists (select from log.archives a
                              where a.state = 'packed' and a.last_position > low and a.first_position <= high) then
        return log.refuse_archived(low, high);
    end if;
    return true;
end $$;

-- Whether an event that isn't in log.events is in the archive.
create function log.is_archived(asked bigint) returns boolean language sql stable as $$
    select exists (select from log.archives a
                   where a.state = 'packed' and asked between a.first_position and a.last_position)
$$;

-- Packing, in two steps. The first writes what will stay beside what is there, and finds that nothing is lost; whoever is
-- ended in between leaves rows and a table that nobody reads, and the next takes them away.
--
-- A ballot that doesn't come back as it was, to the last byte, stays an event as all others do.
--
-- The planner knows nothing of what comes out of a ballot's data, and would look up each one's tool by reading all of them.
create function log.prepare_packing(of_part integer) returns void
language plpgsql set enable_nestloop = off set work_mem = '64MB' as $$
declare
    packed log.archives;
    kept   text := format('events_%s_kept', of_part);
    lost   bigint;
begin
    select * into strict packed from log.archives a where a.part = of_part for update;
    if packed.state <> 'written' then
        raise exception 'part % is % already', of_part, packed.state using errcode = 'object_not_in_prerequisite_state';
    end if;
    if to_regclass('log.' || kept) is not null then
        return;  -- an earlier run did all of this, and a part that is full never changes
    end if;
    perform log.forget_packing(of_part);
    execute format('insert into log.archived_tools (tool) select t.tool'
                   ' from (select distinct e.data->>''tool'' as tool from log.%I e'
                   '       where e.type in (''VoteCast'', ''VoteRetracted'')) t'
                   ' where log.uuid_of(t.tool) is not null order by 1 on conflict do nothing', 'events_' || of_part);
    execute format($q$
        create temp table packing on commit drop as
        select e.position, e.stream, e.voter, t.number as tool, e.version, e.kind
        from (
            select e.*, log.uuid_of(e.data->>'voter') as voter, e.data->>'tool' as of_tool,
                   3 * log.choice_number(e.data->>'choice') + log.choice_number(e.data->>'previous') as kind
            from log.%I e
            where e.type in ('VoteCast', 'VoteRetracted') and e.schema_version = 1 and e.meta is null and e.version < 32768
            offset 0  -- so that each is computed once
        ) e
        join log.archived_tools t on t.tool = e.of_tool
        where substring(uuid_send(e.voter) for 8) = substring(uuid_send(e.stream) for 8)
          and e.kind is not null and e.type = log.ballot_type(e.kind)
          and e.data = jsonb_strip_nulls(jsonb_build_object('voter', e.data->>'voter', 'tool', e.of_tool,
                                                            'choice', e.data->>'choice', 'previous', e.data->>'previous'))
    $q$, 'events_' || of_part);
    analyze packing;
    insert into log.archived_ballots (owner, rest, part, ballots)
    select log.first_half(p.voter), log.second_half(p.voter), of_part,
           string_agg(substring(uuid_send(p.stream) from 9) || int4send((p.position - packed.first_position)::integer)
                      || int4send(p.tool) || int2send(p.version::smallint) || set_byte('\x00'::bytea, 0, p.kind),
                      ''::bytea order by p.position)
    from (select *, row_number() over (partition by voter order by position) - 1 as n from packing) p
    group by p.voter, p.n / 64
    order by p.voter, min(p.position);
    execute format($q$
        insert into log.archived_times (first_position, times)
        select min(e.position), array_agg(e.recorded_at order by e.position)
        from log.%I e group by (e.position - $1) / 1024
    $q$, 'events_' || of_part) using packed.first_position;
    perform log.make_table_of(of_part, kept);
    create unique index on packing (position);
    execute format('insert into log.%I select e.* from log.%I e where not exists (select from packing p'
                   ' where p.position = e.position)', kept, 'events_' || of_part);
    perform log.index_part_table(kept);
    execute format($q$
        select count(*) from log.%I e
        full join (
            select u.stream, u.version, $1 + u.place as position, u.kind, log.id_of(log.of_halves(b.owner, b.rest)) as voter, t.tool
            from log.archived_ballots b cross join lateral log.unpack(b.owner, b.ballots) u
            join log.archived_tools t on t.number = u.tool
            where b.part = $2
        ) k on k.position = e.position
        left join log.%I s on s.position = e.position
        where s.position is null and (
            k.stream, k.version, case when k.kind >= 3 then 'VoteCast' else 'VoteRetracted' end,
            jsonb_strip_nulls(jsonb_build_object('voter', k.voter, 'tool', k.tool, 'choice', log.choice_name(k.kind / 3),
                                                 'previous', log.choice_name(k.kind %% 3)))
        ) is distinct from (e.stream, e.version, e.type, e.data)
    $q$, 'events_' || of_part, kept) into lost using packed.first_position, of_part;
    if lost > 0 then
        raise exception '% events of part % do not come back as they were', lost, of_part using errcode = 'data_exception';
    end if;
end $$;

-- All events of a packed part, in a table of their own: the ballots are made from what stayed of them.
create function log.unpack_part(of_part integer, name text) returns void
language plpgsql set enable_nestloop = off set work_mem = '64MB' as $$
declare
    packed log.archives;
begin
    select * into strict packed from log.archives a where a.part = of_part and a.state = 'packed';
    perform log.make_table_of(of_part, name);
    execute format($q$
        insert into log.%I (stream, version, position, type, schema_version, data, meta, recorded_at)
        select e.stream, e.version, e.position, e.type, e.schema_version, e.data, e.meta, e.recorded_at from log.%I e
        union all
        select u.stream, u.version, $1 + u.place, log.ballot_type(u.kind), 1,
               jsonb_strip_nulls(jsonb_build_object(
                   'voter', log.id_of(log.of_halves(b.owner, b.rest)), 'tool', t.tool,
                   'choice', log.choice_name(u.kind / 3), 'previous', log.choice_name(u.kind %% 3))), null, w.at
        from log.archived_ballots b
        cross join lateral log.unpack(b.owner, b.ballots) u
        join log.archived_tools t on t.number = u.tool
        join (select t.first_position + x.n - 1 as position, x.at
              from log.archived_times t cross join lateral unnest(t.times) with ordinality x(at, n)
              where t.first_position between $1 and $2) w on w.position = $1 + u.place
        where b.part = $3
    $q$, name, 'events_' || of_part) using packed.first_position, packed.last_position, of_part;
    perform log.index_part_table(name);
end $$;

create function log.forget_packing(of_part integer) returns void language plpgsql as $$
begin
    delete from log.archived_ballots b where b.part = of_part;
    delete from log.archived_times t using log.archives a
    where a.part = of_part and t.first_position between a.first_position and a.last_position;
    execute format('drop table if exists log.%I, log.%I', format('events_%s_kept', of_part), format('events_%s_gone', of_part));
end $$;

-- Puts the table `taken` in a part's place, and gives the one that was there the name `aside`. Whoever reads or appends waits for
-- milliseconds: a check shows which positions the table holds, and each index of the parent finds its like. A lock that somebody
-- holds for longer lets this try fail, and the caller tries again.
create function log.swap_part(of_part integer, taken text, aside text, becomes text) returns void
language plpgsql set lock_timeout = '100ms' set statement_timeout = '1500ms' as $$
declare
    part   text := 'events_' || of_part;
    bounds text;
begin
    lock table log.events in access exclusive mode;
    select pg_get_expr(c.relpartbound, c.oid) into strict bounds from pg_class c where c.oid = ('log.' || part)::regclass;
    execute format('alter table log.events detach partition log.%I', part);
    perform log.rename_part_table(part, aside);
    perform log.rename_part_table(taken, part);
    execute format('alter table log.events attach partition log.%I %s', part, bounds);
    update log.archives a set state = becomes where a.part = of_part;
end $$;

create function log.rename_part_table(was text, becomes text) returns void language plpgsql as $$
declare
    index_name text;
begin
    for index_name in
        select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
        where i.indrelid = ('log.' || was)::regclass and starts_with(c.relname, was || '_')
    loop
        execute format('alter index log.%I rename to %I', index_name, becomes || substring(index_name from length(was) + 1));
    end loop;
    execute format('alter table log.%I rename to %I', was, becomes);
end $$;

-- An empty table that is fit for a part's place once it is filled and `log.index_part_table` was called; its positions are checked.
create function log.make_table_of(of_part integer, name text) returns void language plpgsql as $$
declare
    place log.parts;
begin
    select * into strict place from log.parts p where p.part = of_part;
    perform log.make_bare_part_table(name);
    execute format('alter table log.%I add constraint events_range check (position >= %s and position <= %s)',
                   name, place.first_position, place.last_position);
end $$;
