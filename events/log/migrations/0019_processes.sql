-- status.processes   one row a process that runs, or ran: when it last said that it lives, and what keeps it from its work. Everybody's
--                    health can be asked of any process by it. Nothing depends on these rows, and each process prunes old ones.

create schema status;

create table status.processes (
    name       text        not null collate "C",
    kind       text        not null collate "C",
    host       text        not null,
    pid        integer     not null,
    release    text        not null,
    started_at timestamptz not null default now(),
    seen_at    timestamptz not null default now(),
    trouble    text,
    constraint processes_pkey primary key (name)
);
