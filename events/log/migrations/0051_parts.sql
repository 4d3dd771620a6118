-- The log in parts: `log.events` is partitioned by ranges of positions. A part that is full never changes again, has indexes of
-- its own that fit in memory, and can be backed up, moved or archived by itself. 0052 turns the table that is there into the first
-- part, beside votes; until then nothing changes but who reads a stream's last event.
--
-- log.parts        the parts that there must be: part n is the table log.events_n, and holds these positions, both included. They
--                  follow each other without a hole. Whoever makes a part holds this table's lock.
-- log.lasts        the last event of each of these streams. Everybody who decides reads it here, and nobody elsewhere.
-- log.make_room    makes the parts that positions up to `through` need, and returns the last position that there is room for.
--                  Nobody waits for it: a part is made as a table that nobody knows, then attached under a lock that lets
--                  everybody read and append.
--
-- What the server can't hold across parts, the head's lock holds: whoever appends has read each stream's last event under it, and
-- takes the next positions from it. So (stream, version) is unique in the whole log, as it is by a key in each part, and positions
-- are dense; a window's count, `verify` and an import find it if that ever fails.

create table log.parts (
    part           integer     not null,
    first_position bigint      not null,
    last_position  bigint      not null,
    made_at        timestamptz not null default now(),
    constraint parts_pkey primary key (part),
    constraint parts_first_position_key unique (first_position),
    constraint parts_range check (first_position <= last_position)
);

-- Read from the table itself until 0053: while 0052 runs, whoever appends must need no view.
create function log.lasts(streams uuid[])
returns table (n integer, version integer, "position" bigint, type text, schema_version smallint, data jsonb)
language sql stable as $$
    select s.n::integer, e.version, e.position, e.type, e.schema_version, e.data
    from unnest(streams) with ordinality as s(stream, n)
    cross join lateral (
        select r.version, r.position, r.type, r.schema_version, r.data
        from log.events r where r.stream = s.stream order by r.version desc limit 1
    ) e
$$;

create or replace function log.lock_and_read(streams uuid[])
returns table (n integer, version integer, "position" bigint, type text, schema_version smallint, data jsonb, extra bigint)
language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock(1751474532);  -- a turn, as log.append_if takes it
    return query select 0, 0, h.position, ''::text, 0::smallint, null::jsonb, h.listing_position from log.head h for update;
    lock table only log.events in access share mode;  -- before the next snapshot, as log.append_if does
    return query
    select e.n, e.version, e.position, e.type, e.schema_version, e.data, null::bigint
    from log.lasts(streams) e;
end $$;

create function log.is_in_parts() returns boolean language sql stable as $$
    select relkind = 'p' from pg_class where oid = to_regclass('log.events')
$$;

-- The name of a part's index, from the whole's: an operator's own may have any name.
create function log.part_index(of_whole text, part text) returns text language sql immutable as $$
    select left(part || '_' || regexp_replace(of_whole, '^events_', ''), 63)
$$;

-- An empty table that is fit for a part's place, but for its indexes: it refuses changes by itself.
create function log.make_bare_part_table(name text) returns void language plpgsql as $$
begin
    execute format('create table log.%I (like log.events including all excluding indexes)', name);
    execute format('create trigger events_append_only before update or delete or truncate on log.%I'
                   ' for each statement execute function log.refuse_change()', name);
end $$;

-- Gives it each of the parent's indexes, under the same name but for the table's, and a key of its own.
create function log.index_part_table(name text) returns void language plpgsql as $$
declare
    of_whole record;
begin
    execute format('alter table log.%I add constraint %I primary key (stream, version)', name, name || '_pkey');
    execute format('alter table log.%I add constraint %I unique (position)', name, name || '_position_key');
    for of_whole in
        select c.relname as name, pg_get_indexdef(c.oid) as definition
        from pg_index i join pg_class c on c.oid = i.indexrelid
        where i.indrelid = to_regclass('log.events') and not i.indisunique
    loop
        execute replace(of_whole.definition, format(' %I ON ONLY log.events ', of_whole.name),
                        format(' %I ON log.%I ', log.part_index(of_whole.name, name), name));
    end loop;
end $$;

create function log.make_part_table(name text) returns void language plpgsql as $$
begin
    perform log.make_bare_part_table(name);
    perform log.index_part_table(name);
end $$;

create function log.make_part(first bigint, last bigint) returns void language plpgsql as $$
declare
    part integer := (select coalesce(max(p.part) + 1, 0) from log.parts p);
    name text := 'events_' || part;
begin
    perform log.make_part_table(name);
    execute format('alter table log.events attach partition log.%I for values from (%s) to (%s)', name, first, last + 1);
    insert into log.parts (part, first_position, last_position) values (part, first, last);
end $$;

-- A part has as many positions as the last one, unless a size is named. A log that isn't in parts has room for every position.
create function log.make_room(through bigint, size bigint default null) returns bigint language plpgsql as $$
declare
    newest log.parts;
begin
    if not log.is_in_parts() then
        return 9223372036854775807;
    end if;
    loop
        select * into strict newest from log.parts p order by p.part desc limit 1;
        exit when newest.last_position >= through;
        lock table log.parts in share row exclusive mode;
        select * into strict newest from log.parts p order by p.part desc limit 1;  -- another may have made it meanwhile
        if newest.last_position < through then
            perform log.make_part(newest.last_position + 1, newest.last_position
                + coalesce(size, newest.last_position - newest.first_position + 1));
        end if;
    end loop;
    return newest.last_position;
end $$;

-- 0052 calls the rest, in this order. Each step is whole or not there, waits for no lock longer than votes can bear, and may be
-- taken again. A size is asked for by the session's `ballotpress.part_size`.
create function log.part_size() returns bigint language sql stable as $$
    select coalesce(nullif(current_setting('ballotpress.part_size', true), '')::bigint, 10000000)
$$;

-- The first part ends a whole part's room or more above the head, at a multiple of the size, so that nothing is refused if what
-- follows has to wait. A check from an earlier try is kept while it leaves as much room.
create function log.bound_first_part() returns void language plpgsql set lock_timeout = '100ms' as $$
declare
    size    bigint := log.part_size();
    head    bigint := (select h.position from log.head h);
    bounded bigint := (select substring(pg_get_constraintdef(c.oid) from '[0-9]+')::bigint from pg_constraint c
                       where c.conrelid = 'log.events'::regclass and c.conname = 'events_first_part');
begin
    if log.is_in_parts() or bounded >= head + size then
        return;
    end if;
    alter table log.events drop constraint if exists events_first_part;
    bounded := case when head = 0 then size else (head / size + 2) * size end;
    execute format('alter table log.events add constraint events_first_part check (position <= %s) not valid', bounded);
end $$;

create function log.check_first_part() returns void language plpgsql as $$
begin
    if not log.is_in_parts() then
        alter table log.events validate constraint events_first_part;
    end if;
end $$;

-- The switch: the table becomes the first part of a new `log.events`. All that is looked through is a catalog: the check shows which
-- positions the table holds, and each index of the parent finds its like. Whoever reads or appends waits for these milliseconds.
--
-- Locks are taken as readers take them, a view before its table. An appender that waits for the head holds the table at most, no view
-- (see log.lasts), so it goes on and lets go. Whoever holds a lock for longer lets this try fail, and the caller tries again.
create function log.part_events() returns void language plpgsql set lock_timeout = '100ms' set statement_timeout = '1500ms' as $$
declare
    was        pg_class := (select c from pg_class c where c.oid = 'log.events'::regclass);
    size       bigint := log.part_size();
    last       bigint;
    made_anew  text[];
    definition text;
    old        record;
begin
    if log.is_in_parts() then
        return;
    end if;
    for old in select v.view, v.owner from log.views_on_events v loop
        execute format('alter view %s owner to %I', old.view, old.owner);  -- locks the view alone
    end loop;
    lock table log.events in access exclusive mode;
    select substring(pg_get_constraintdef(c.oid) from '[0-9]+')::bigint into strict last from pg_constraint c
    where c.conrelid = 'log.events'::regclass and c.conname = 'events_first_part' and c.convalidated;

    -- What names the table by its number and not by its name is made anew, from its own words.
    made_anew := array(select pg_get_functiondef(p.oid) from pg_proc p where was.reltype = any(p.proargtypes::oid[]))
        || array(select format('create or replace view %s as %s', v.view, pg_get_viewdef(v.view)) from log.views_on_events v);

    alter table log.events rename to events_0;
    create table log.events (like log.events_0 including all excluding indexes excluding constraints) partition by range (position);
    execute format('alter table log.events owner to %I', pg_get_userbyid(was.relowner));
    for old in select g.grantee, g.privilege_type, g.is_grantable from aclexplode(was.relacl) g where g.grantee <> was.relowner loop
        execute format('grant %s on log.events to %s%s', old.privilege_type,
                       case old.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(old.grantee)) end,
                       case when old.is_grantable then ' with grant option' else '' end);
    end loop;
    perform log.carry_rights('log.events_0', 'log.events');
    for old in
        select c.relname as name, log.part_index(c.relname, 'events_0') as renamed, pg_get_indexdef(c.oid) as definition,
               i.indisunique as is_unique
        from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = 'log.events_0'::regclass
    loop
        execute format('alter index log.%I rename to %I', old.name, old.renamed);
        if old.name = 'events_position_key' then
            alter table log.events add constraint events_position_key unique (position);
        elsif not old.is_unique then  -- the key is the first part's, as is what an operator made unique
            execute replace(old.definition, ' log.events_0 ', ' log.events ');
        end if;
    end loop;
    execute format('alter table log.events attach partition log.events_0 for values from (minvalue) to (%s)', last + 1);
    alter table log.events_0 drop constraint events_first_part;
    create trigger events_append_only before update or delete or truncate on log.events
        for each statement execute function log.refuse_change();
    insert into log.parts (part, first_position, last_position) values (0, 1, last);
    perform log.make_room(last + 1, size);
    foreach definition in array made_anew loop
        execute definition;
    end loop;
    for old in select p.oid::regprocedure as replaced from pg_proc p where was.reltype = any(p.proargtypes::oid[]) loop
        execute format('drop function %s', old.replaced);
    end loop;
end $$;

-- Carries what operators may have put on a table to another: rights on columns, row security with its policies, and publications.
-- What can't be carried, such as a publication of somebody else's, is said as a warning and keeps nobody from going on.
create function log.carry_rights(from_table regclass, to_table regclass) returns void language plpgsql as $$
declare
    statement text;
begin
    for statement in
        select format('grant %s (%I) on %s to %s%s', g.privilege_type, a.attname, to_table,
                      case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end,
                      case when g.is_grantable then ' with grant option' else '' end)
        from pg_attribute a cross join lateral aclexplode(a.attacl) g where a.attrelid = from_table
        union all
        select format('alter table %s enable row level security', to_table)
        from pg_class c where c.oid = from_table and c.relrowsecurity
        union all
        select format('alter table %s force row level security', to_table)
        from pg_class c where c.oid = from_table and c.relforcerowsecurity
        union all
        select format('create policy %I on %s as %s for %s to %s', p.polname, to_table,
                      case when p.polpermissive then 'permissive' else 'restrictive' end,
                      case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
                                    when 'd' then 'delete' else 'all' end,
                      (select string_agg(case r.role when 0 then 'public' else quote_ident(pg_get_userbyid(r.role)) end, ', ')
                       from unnest(p.polroles) as r(role)))
            || coalesce(' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
            || coalesce(' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
        from pg_policy p where p.polrelid = from_table
        union all
        select format('alter publication %I add table %s', p.pubname, to_table)
            || coalesce(' (' || (select string_agg(quote_ident(a.attname), ', ' order by n.n)
                                 from unnest(r.prattrs::int2[]) with ordinality n(attnum, n)
                                 join pg_attribute a on a.attrelid = from_table and a.attnum = n.attnum) || ')', '')
            || coalesce(' where (' || pg_get_expr(r.prqual, r.prrelid) || ')', '')
        from pg_publication_rel r join pg_publication p on p.oid = r.prpubid where r.prrelid = from_table
    loop
        begin
            execute statement;
        exception when others then
            raise warning 'not carried to the log in parts: % (%)', statement, sqlerrm;
        end;
    end loop;
end $$;

-- Every view that names the log's table itself.
create view log.views_on_events (view, owner) as
select distinct c.oid::regclass, pg_get_userbyid(c.relowner)
from pg_depend d
join pg_rewrite r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
join pg_class c on c.oid = r.ev_class and c.relkind = 'v'
where d.refclassid = 'pg_class'::regclass and d.refobjid = 'log.events'::regclass;
