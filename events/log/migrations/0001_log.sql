-- The log: what happened, in order, for ever; and the small tables that stand beside it.
--
-- log.events       every event. Append only: triggers refuse UPDATE, DELETE and TRUNCATE. Positions run from 1 without holes
--                  and in commit order; recorded_at rises with the batch, so a time is a position.
-- log.head         one row: the last position, its time, and the last position that changed which tools are listed. Whoever
--                  holds its lock is the only one appending.
-- log.idempotency  receipts of commands that came with an Idempotency-Key, kept for 24 hours.
-- vault.*          what events must not hold: personal keys, wrapped, and the look-up of who is known. Erasure deletes here.

create schema log;
create schema vault;

create table log.events (
    stream         uuid        not null,
    position       bigint      not null,
    recorded_at    timestamptz not null,
    version        integer     not null,
    schema_version smallint    not null,
    type           text        not null collate "C",
    data           jsonb       not null,
    meta           jsonb,
    constraint events_pkey primary key (stream, version),
    constraint events_position_key unique (position)
);

-- Few events change which tools are listed; every process reads them all at its start.
create index events_listing_idx on log.events (position) where type in ('ToolAdded', 'ToolListed', 'ToolUnlisted');

create function log.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the log is append-only: % on log.events is refused', tg_op using errcode = 'integrity_constraint_violation';
end $$;

create trigger events_append_only before update or delete or truncate on log.events
    for each statement execute function log.refuse_change();

create table log.head (
    only_row         boolean     not null default true,
    position         bigint      not null,
    recorded_at      timestamptz not null,
    listing_position bigint      not null,
    constraint head_pkey primary key (only_row),
    constraint head_only_row check (only_row)
);
insert into log.head (position, recorded_at, listing_position) values (0, '-infinity', 0);

create table log.idempotency (
    scope       text        not null collate "C",
    key         text        not null collate "C",
    fingerprint bytea       not null,
    receipt     jsonb       not null,
    recorded_at timestamptz not null,
    constraint idempotency_pkey primary key (scope, key)
);
create index idempotency_recorded_at_idx on log.idempotency (recorded_at);

-- The one place where old versions of an event become the present one. Everything reads this view, Python too.
-- A raised schema_version adds one branch to the case of `schema_version` and one to that of `data`.
create view log.recorded_events as
select stream, version, position, type, schema_version, data, meta, recorded_at from log.events;

-- Lock the head and read the last events of these streams: one round trip, and still two statements, each with a snapshot of its
-- own, because a volatile function takes a new one for each. The first row (n = 0) is the head's; `version` holds nothing there
-- and `extra` the listing's position.
create function log.lock_and_read(streams uuid[])
returns table (n integer, version integer, "position" bigint, type text, schema_version smallint, data jsonb, extra bigint)
language plpgsql volatile as $$
begin
    return query select 0, 0, h.position, ''::text, 0::smallint, null::jsonb, h.listing_position from log.head h for update;
    return query
    select s.n::integer, e.version, e.position, e.type, e.schema_version, e.data, null::bigint
    from unnest(streams) with ordinality as s(stream, n)
    cross join lateral (
        select r.version, r.position, r.type, r.schema_version, r.data
        from log.recorded_events r where r.stream = s.stream order by r.version desc limit 1
    ) e;
end $$;

-- The last position recorded at or before a time; 0 before the first. Positions are dense and their times rise, so this
-- is a binary search over the index of positions: 24 probes in ten million events.
create function log.position_at(at timestamptz) returns bigint language plpgsql stable as $$
declare
    low bigint := 0;
    high bigint;
    middle bigint;
begin
    select h.position into high from log.head h;
    while low < high loop
        middle := (low + high + 1) / 2;
        if (select e.recorded_at <= at from log.events e where e.position = middle) then
            low := middle;
        else
            high := middle - 1;
        end if;
    end loop;
    return low;
end $$;

-- The first stream that an id's own streams can have (its first 8 bytes, then zeros): `id` is 22 characters of base64url.
create function log.first_stream(id text) returns uuid language sql immutable strict parallel safe as $$
    select encode(substring(decode(translate(id, '-_', '+/') || '==', 'base64') for 8) || '\x0000000000000000', 'hex')::uuid
$$;

create function log.last_stream(id text) returns uuid language sql immutable strict parallel safe as $$
    select encode(substring(decode(translate(id, '-_', '+/') || '==', 'base64') for 8) || '\xffffffffffffffff', 'hex')::uuid
$$;
