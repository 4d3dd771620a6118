-- Three things that help against bought votes. None is in the log, in an export or in a view.
--
-- integrity.network_key     the key of the day, one row. The next day's takes its place, and the table's file goes with the old one.
-- integrity.network_marks   under the key of a vote's day, the network that the vote came from fell into this one of 65,536 buckets. A
--                           table for each of sixteen days in turn: what is deleted stays in a file, a truncated table has a new one.
-- integrity.puzzles         the tools whose votes ask for a solved puzzle, and until when.
--
-- Key and marks are unlogged: no WAL, standby or base backup ever holds them. A crash of the server empties them, and the next key is
-- then made anew. That costs the detector what it knew of networks, and nobody a vote.

create unlogged table integrity.network_key (
    only_row boolean not null default true,
    day      date    not null,
    key      bytea   not null,
    constraint network_key_pkey primary key (only_row),
    constraint network_key_only_row check (only_row)
);

create table integrity.network_marks (
    position bigint  not null,
    day      date    not null,
    bucket   integer not null,
    constraint network_marks_bucket check (bucket between 0 and 65535)
) partition by list (((day - date '2000-01-01') % 16));

do $$ begin
    for slot in 0..15 loop
        execute format(
            'create unlogged table integrity.network_marks_%s partition of integrity.network_marks for values in (%s)', slot, slot
        );
    end loop;
end $$;

create index network_marks_position_idx on integrity.network_marks (position);

create table integrity.puzzles (
    tool        text        not null collate "C",
    until       timestamptz not null,
    switched_by text        not null,
    constraint puzzles_pkey primary key (tool)
);

-- Destroys the marks of so many days ago and earlier, and the key of a day that is over; of no days, all of them. Returns the number of
-- tables that were emptied. Whoever empties tables locks the key's first, so that nobody waits in a circle.
create function integrity.forget_marks(kept integer) returns integer language plpgsql as $$
declare
    today   date := (now() at time zone 'UTC')::date;
    found   date;
    emptied integer := 0;
begin
    lock table integrity.network_key in access exclusive mode;
    for slot in 0..15 loop
        execute format('select day from integrity.network_marks_%s limit 1', slot) into found; -- a table holds one day's
        if found <= today - kept or found > today then
            execute format('truncate integrity.network_marks_%s', slot);
            emptied := emptied + 1;
        end if;
    end loop;
    if exists (select from integrity.network_key k where k.day <> today or kept = 0) then
        truncate integrity.network_key;
        emptied := emptied + 1;
    end if;
    return emptied;
end $$;

-- Makes the key of the present day, unless another has meanwhile, and returns both. It destroys the key before it, and all old marks.
create function integrity.make_network_key(kept integer, out day date, out key bytea) language plpgsql as $$
begin
    perform integrity.forget_marks(kept);
    insert into integrity.network_key as k (day, key)
    values ((now() at time zone 'UTC')::date, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
    on conflict do nothing;
    select k.day, k.key into make_network_key.day, make_network_key.key from integrity.network_key k;
end $$;
