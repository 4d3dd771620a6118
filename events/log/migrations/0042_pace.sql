-- Pace: how many digests may leave on a day, and at which hours. Single mails, such as confirmations, know neither.
--
-- newsletter.pace  one row: what the workers' settings say. Digests leave from the hour `opens` until the hour `closes` in `zone`;
--                  where both are the same, at every hour. `warm_up` is the cap of the first day, which grows by `growth` with
--                  each day that used half of its cap; `most` is the cap that stays, and where `warm_up` ends.
-- newsletter.days  one row a day with a cap: the cap, and how many digests were counted against it before they were attempted.
--                  A lost worker's mails stay counted, so no day ever sends more. A day begins at the hour `opens`. Rows of a
--                  `provider` count what went to that one ('': all together).
-- newsletter.gate  whether digests may leave now, whether there is a cap, and how many more it lets pass today.
create table newsletter.pace (
    only_row      boolean          not null default true,
    zone          text             not null default 'UTC',
    opens         smallint         not null default 0,
    closes        smallint         not null default 0,
    warm_up       bigint,
    growth        double precision not null default 1.5,
    most          bigint,
    provider_most bigint,
    constraint pace_pkey primary key (only_row),
    constraint pace_only_row check (only_row),
    constraint pace_hours check (opens between 0 and 23 and closes between 0 and 23),
    constraint pace_grows check (growth >= 1)
);
insert into newsletter.pace default values;

create table newsletter.days (
    day      date   not null,
    provider text   not null collate "C" default '',
    cap      bigint not null,
    mails    bigint not null default 0,
    constraint days_pkey primary key (day, provider)
);

-- The day of a time, where days begin at an hour of the clock in a zone.
create function newsletter.day_of(at timestamptz, zone text, opens integer) returns date
language sql stable strict parallel safe as $$
    select ((at at time zone zone) - make_interval(hours => opens))::date
$$;

-- Whether a window of hours of the clock in a zone is open at a time; it may lie over midnight.
create function newsletter.is_open(at timestamptz, zone text, opens integer, closes integer) returns boolean
language sql stable strict parallel safe as $$
    select case when opens < closes then hour >= opens and hour < closes
                when opens > closes then hour >= opens or hour < closes
                else true end
    from (select extract(hour from at at time zone zone)) as clock(hour)
$$;

create view newsletter.gate as
select n.day, newsletter.is_open(now(), p.zone, p.opens, p.closes) as is_open,
       p.warm_up is not null or p.most is not null as is_capped,
       greatest(d.cap - d.mails, 0) as room
from newsletter.pace p
cross join lateral (select newsletter.day_of(now(), p.zone, p.opens)) as n(day)
left join newsletter.days d on d.day = n.day and d.provider = '';
