-- purge.progress  how far the caches before this site were told what to forget: every change up to `position`, which is null before
--                 the first look. One row. `lease` names the worker whose turn it is, until `leased_until`; while calls fail
--                 there is none before `not_before`. Nothing is lost with the row but the memory of what was told.

create schema purge;

create table purge.progress (
    only_row     boolean     not null default true,
    position     bigint,
    purged_at    timestamptz,
    failures     integer     not null default 0,
    failed       text,
    failed_at    timestamptz,
    not_before   timestamptz not null default now(),
    lease        text        collate "C",
    leased_until timestamptz,
    constraint progress_pkey primary key (only_row),
    constraint progress_only_row check (only_row)
);
insert into purge.progress default values;
