-- log.identity   what no other log has: by it a process tells another site's server among the hosts of its URL from a copy of its own

create table log.identity (
    only_row boolean not null default true,
    id       uuid    not null default gen_random_uuid(),
    constraint identity_pkey primary key (only_row),
    constraint identity_only_row check (only_row)
);
insert into log.identity default values;
