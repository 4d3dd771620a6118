-- What `status` compares with yesterday, beside the log itself. Nothing depends on these rows, and old ones are pruned.
--
-- status.starts   one row a start of a process, for eight days: what was started again shows, and which releases ran.
-- status.sizes    one row an hour, for eight days: the bytes of the database, and the mails that waited.

create table status.starts (
    name       text        not null collate "C",
    kind       text        not null collate "C",
    release    text        not null,
    started_at timestamptz not null default now(),
    constraint starts_pkey primary key (started_at, name)
);

create table status.sizes (
    hour          timestamptz not null,
    bytes         bigint      not null,
    waiting_mails bigint      not null,
    constraint sizes_pkey primary key (hour)
);
