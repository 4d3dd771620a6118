-- vault.leftovers   whether files of the database may still hold the bytes of keys that were destroyed or wrapped anew: `by` is the
--                   last transaction that did so; null once the table of keys was written anew without them.

create table vault.leftovers (
    only_row boolean not null default true,
    by       xid8,
    constraint leftovers_pkey primary key (only_row),
    constraint leftovers_only_row check (only_row)
);
insert into vault.leftovers default values;

create function vault.leave_bytes() returns trigger language plpgsql as $$
begin
    update vault.leftovers set by = pg_current_xact_id();
    return null;
end $$;

create trigger keys_leave_bytes after delete or update on vault.keys
    for each statement execute function vault.leave_bytes();

-- Keys may have been destroyed before there was this table.
update vault.leftovers set by = pg_current_xact_id();
