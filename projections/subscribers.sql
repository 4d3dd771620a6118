-- Subscribers: their sealed address and time zone, consent and preferences, and the visitors whose bookmarks they joined. Issues are planned
-- from these tables; the ledger reads the log again before it sends a mail.

-- tables: one row a subscriber that was not erased, and one a visitor whose bookmarks it joined
create table subscribers (
    subscriber     text        not null collate "C",
    sealed_address text        not null,
    status         text        not null collate "C",
    round          integer     not null,
    categories     text[]      not null collate "C",
    frequency      text        not null collate "C",
    paused_until   date,
    suppressed     text,
    sealed_zone    text,
    requested_at   timestamptz not null,
    confirmed_at   timestamptz,
    position       bigint      not null,
    constraint subscribers_pkey primary key (subscriber)
);
create index subscribers_unconfirmed_idx on subscribers (requested_at) where status = 'pending' and round = 0;

create table visitors (
    subscriber text   not null collate "C",
    visitor    text   not null collate "C",
    position   bigint not null,
    constraint visitors_pkey primary key (subscriber, visitor)
);

-- totals: the number of subscribers
select 'subscribers' as name, count(*) as total from subscribers;

-- changes (SubscriptionRequested, SubscriberImported, PersonErased): one more with each address, one less with each erasure of one
select 'subscribers' as name, sum(case e.type when 'PersonErased' then -1 else 1 end)::bigint as change
from log.taken($1, $2, $3, '{SubscriptionRequested, SubscriberImported, PersonErased}') e
where e.type <> 'PersonErased' and e.data ? 'address'
      or e.type = 'PersonErased' and exists (select from log.of_stream(e.stream) b where b.data ? 'address');

-- step begun (SubscriptionRequested, SubscriberImported): the first event of each holds the address
insert into subscribers (subscriber, sealed_address, status, round, categories, frequency, sealed_zone, requested_at, position)
select e.data->>'subscriber', e.data->>'address', 'pending', 0, '{}', 'weekly', e.data->>'zone', e.recorded_at, e.position
from log.taken($1, $2, $3, '{SubscriptionRequested, SubscriberImported}') e
where e.data ? 'address'
order by e.data->>'subscriber';

-- step changed (SubscriptionRequested, SubscriptionConfirmed, SubscriberImported, PreferencesSet, TimeZoneSet, Unsubscribed, UnsubscribeUndone, SubscriberSuppressed, SubscriberReinstated): the last value of each column holds
with last_word as (
    select e.data->>'subscriber' as subscriber,
           (array_agg(e.type order by e.position desc) filter (where e.type in ('SubscriptionRequested', 'SubscriptionConfirmed',
                'SubscriberImported', 'Unsubscribed', 'UnsubscribeUndone')))[1] as standing,
           max((e.data->>'round')::integer) filter (where e.type in ('SubscriptionConfirmed', 'SubscriberImported')) as round,
           (array_agg(e.data->'categories' order by e.position desc) filter (where e.data ? 'categories'))[1] as categories,
           (array_agg(e.data order by e.position desc) filter (where e.type = 'PreferencesSet'))[1] as preferences,
           (array_agg(case e.type when 'SubscriberSuppressed' then e.data->>'reason' end order by e.position desc) filter (where
                e.type in ('SubscriberSuppressed', 'SubscriberReinstated', 'SubscriptionConfirmed')))[1] as suppressed,
           bool_or(e.type in ('SubscriberSuppressed', 'SubscriberReinstated', 'SubscriptionConfirmed')) as is_judged,
           (array_agg(e.data->>'zone' order by e.position desc) filter (where e.type = 'TimeZoneSet'))[1] as zone,
           bool_or(e.type = 'TimeZoneSet') as is_placed,
           max(e.recorded_at) filter (where e.type in ('SubscriptionRequested', 'SubscriberImported')) as requested_at,
           max(e.recorded_at) filter (where e.type in ('SubscriptionConfirmed', 'SubscriberImported')) as confirmed_at,
           max(e.position) as position
    from log.taken($1, $2, $3, '{SubscriptionRequested, SubscriptionConfirmed, SubscriberImported, PreferencesSet, TimeZoneSet,
                                 Unsubscribed, UnsubscribeUndone, SubscriberSuppressed, SubscriberReinstated}') e
    group by e.data->>'subscriber'
)
update subscribers s
set status = case l.standing when 'SubscriptionRequested' then 'pending' when 'Unsubscribed' then 'unsubscribed'
                             when 'SubscriptionConfirmed' then 'confirmed' when 'SubscriberImported' then 'confirmed'
                             when 'UnsubscribeUndone' then 'confirmed' else s.status end,
    round = coalesce(l.round, s.round),
    categories = case when l.categories is null then s.categories
                      else array(select jsonb_array_elements_text(l.categories)) end,
    frequency = coalesce(l.preferences->>'frequency', s.frequency),
    paused_until = case when l.preferences is null then s.paused_until else (l.preferences->>'paused_until')::date end,
    suppressed = case when l.is_judged then l.suppressed else s.suppressed end,
    sealed_zone = case when l.is_placed then l.zone else s.sealed_zone end,
    requested_at = coalesce(l.requested_at, s.requested_at),
    confirmed_at = coalesce(l.confirmed_at, s.confirmed_at),
    position = l.position
from last_word l where s.subscriber = l.subscriber;

-- step joined (SubscriptionRequested, BookmarksJoined): each visitor is joined once
insert into visitors (subscriber, visitor, position)
select e.data->>'subscriber', e.data->>'visitor', min(e.position)
from log.taken($1, $2, $3, '{SubscriptionRequested, BookmarksJoined}') e join subscribers s on s.subscriber = e.data->>'subscriber'
where e.data ? 'visitor'
group by 1, 2
order by 1, 2
on conflict (subscriber, visitor) do nothing;

-- step erased (PersonErased): its rows are deleted, whatever came before in the window
with gone as (
    delete from subscribers s using log.taken($1, $2, $3, '{PersonErased}') e
    where s.subscriber = e.data->>'person'
    returning s.subscriber
)
delete from visitors v using gone g where v.subscriber = g.subscriber;
