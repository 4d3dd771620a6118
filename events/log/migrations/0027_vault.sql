-- vault.keys        in 32 parts, by a hash of the owner. What a destroyed key leaves on disk goes when its part is written anew, which
--                   locks that part alone: however many keys there are, nobody waits for all of them (`events.log.leftovers`).
-- vault.leftovers   the parts whose files may hold bytes of keys that were destroyed or wrapped anew, each with the transactions that
--                   did so, until the part was written anew without them. Rows are only added and deleted, so that nobody waits here.
-- vault.left_elsewhere   the marks of addresses whose readers left the newsletter elsewhere, as an imported file said, with the day: a
--                   later file without a later consent doesn't bring them back. Their own sign-up does.

-- A process of the release before plans its statements anew by the names, which stay.
-- squawk-ignore renaming-table
alter table vault.keys rename to keys_in_one;
-- squawk-ignore renaming-object
alter index vault.keys_pkey rename to keys_in_one_pkey;

create table vault.keys (
    owner         text        not null collate "C",
    wrapped       bytea       not null,
    wrapped_under text        not null collate "C",
    made_at       timestamptz not null default now(),
    constraint keys_pkey primary key (owner)
) partition by hash (owner);

-- All of a row stands in its part, so that no other file has to be looked after.
alter table vault.keys alter column owner set storage plain, alter column wrapped set storage plain,
    alter column wrapped_under set storage plain;

do $$
begin
    for part in 0..31 loop
        execute format('create table vault.keys_%s partition of vault.keys for values with (modulus 32, remainder %s)', part, part);
    end loop;
end $$;

insert into vault.keys (owner, wrapped, wrapped_under, made_at) select owner, wrapped, wrapped_under, made_at from vault.keys_in_one;

-- squawk-ignore renaming-table
alter table vault.leftovers rename to leftovers_in_one;
-- squawk-ignore renaming-object
alter index vault.leftovers_pkey rename to leftovers_in_one_pkey;

create table vault.leftovers (
    part  text        not null collate "C",
    by    xid8        not null default pg_current_xact_id(),
    since timestamptz not null default now(),
    constraint leftovers_pkey primary key (part, by)
);

-- The old table's file goes with it, but the WAL may hold what was destroyed. (In a new database all migrations are one transaction.)
insert into vault.leftovers (part, by) select 'keys_0', by from vault.leftovers_in_one where by <> pg_current_xact_id();

-- squawk-ignore ban-drop-table
drop table vault.leftovers_in_one, vault.keys_in_one;

create or replace function vault.leave_bytes() returns trigger language plpgsql as $$
begin
    insert into vault.leftovers (part) values (tg_table_name) on conflict do nothing;
    return null;
end $$;

create trigger keys_leave_bytes after delete or update on vault.keys for each row execute function vault.leave_bytes();

create table vault.left_elsewhere (
    mark    bytea not null,
    left_on date  not null,
    constraint left_elsewhere_pkey primary key (mark)
);
