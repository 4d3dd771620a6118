-- The clock of issues, as the worker follows it, by the database's time.
--
-- newsletter.schedule   also: the day, hour and zone that are followed, and when the running period ends. Null until a worker has
--                       looked. Settings that differ take over at their own next time.
-- newsletter.periods    each period that has ended, or was served before its end: when it was due, the month it counts for, and
--                       whether it is that month's first. It stays due until an issue of the edition serves it or a later one.
alter table newsletter.schedule
    add column day smallint,
    add column hour smallint,
    add column zone text,
    add column next_due timestamptz;

create table newsletter.periods (
    due_at  timestamptz not null,
    month   date        not null,
    monthly boolean     not null,
    constraint periods_pkey primary key (due_at)
);
