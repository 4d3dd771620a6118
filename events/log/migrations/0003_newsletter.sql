-- The newsletter's ledger: what is to be mailed to whom, and what became of it. No projection: a replay can't reach it.
--
-- vault.lookups         who is known by which address, as an HMAC of it. Erasure takes the person out; a suppressed address
--                       keeps its HMAC, so that it stays suppressed.
-- newsletter.schedule   one row: since when issues are due, and whether an operator has paused them.
-- newsletter.issues     each issue: its period of the log, what it says, and how far it is. `content_hash` is the SHA-256 of the
--                       content as compiled. `planned` counts its mails; at every commit they add up by state.
-- newsletter.mails      one row a reader and issue, or a single mail (issue 0). `attempting` is committed before SMTP is spoken
--                       and the outcome after; one whose lease ran out in between is `uncertain`, and an operator's to resolve.
-- newsletter.slowdowns  until when a relay (name '') or a recipient domain is left alone, because it asked for it.
-- newsletter.bounces    soft bounces since the last mail that was taken, a row each, and which reports were seen already.

create table vault.lookups (
    mark          bytea       not null,
    person        text        collate "C",
    suppressed    text,
    suppressed_at timestamptz,
    constraint lookups_pkey primary key (mark),
    constraint lookups_says_something check (person is not null or suppressed is not null)
);
create index lookups_person_idx on vault.lookups (person) where person is not null;

create schema newsletter;

create table newsletter.schedule (
    only_row  boolean     not null default true,
    since     timestamptz not null default now(),
    paused_at timestamptz,
    constraint schedule_pkey primary key (only_row),
    constraint schedule_only_row check (only_row)
);
insert into newsletter.schedule default values;

create table newsletter.issues (
    number        integer     not null,
    edition       text        not null,
    due_at        timestamptz not null,
    extra         integer     not null default 0,
    from_position bigint      not null,
    to_position   bigint      not null,
    period_from   timestamptz not null,
    compiled_at   timestamptz not null,
    operator      text,
    content       jsonb       not null,
    content_hash  bytea       not null,
    state         text        not null,
    planned       bigint      not null default 0,
    planned_at    timestamptz,
    settled_at    timestamptz,
    constraint issues_pkey primary key (number),
    constraint issues_one_a_period unique (edition, due_at, extra),
    constraint issues_edition check (edition in ('weekly', 'monthly')),
    constraint issues_state check (state in ('compiled', 'planned', 'settled', 'cancelled'))
);
create index issues_open_idx on newsletter.issues (number) where state in ('compiled', 'planned');

create table newsletter.mails (
    issue       integer     not null,
    reader      text        not null collate "C",
    mail        text        not null collate "C" default '',
    kind        text        not null collate "C",
    state       text        not null collate "C",
    reason      text,
    code        smallint,
    attempts    smallint    not null default 0,
    not_before  timestamptz not null,
    lease_until timestamptz,
    claim       text        collate "C",
    planned_at  timestamptz not null default now(),
    settled_at  timestamptz,
    constraint mails_pkey primary key (issue, reader, mail),
    constraint mails_state check (state in ('pending', 'attempting', 'deferred', 'accepted', 'rejected', 'uncertain', 'cancelled',
                                            'excluded'))
);
create index mails_due_idx on newsletter.mails (issue, not_before) where state in ('pending', 'deferred');
create index mails_attempting_idx on newsletter.mails (lease_until) where state = 'attempting';
create index mails_reader_idx on newsletter.mails (reader);

create table newsletter.slowdowns (
    name  text        not null collate "C",
    until timestamptz not null,
    step  integer     not null,
    constraint slowdowns_pkey primary key (name)
);

create table newsletter.bounces (
    reader      text        not null collate "C",
    report      bytea       not null,
    kind        text        not null,
    code        text,
    recorded_at timestamptz not null default now(),
    constraint bounces_pkey primary key (reader, report)
);

-- A subscriber's stream from its id: 22 characters of base64url.
create function newsletter.stream_of(id text) returns uuid language sql immutable strict parallel safe as $$
    select encode(decode(translate(id, '-_', '+/') || '==', 'base64'), 'hex')::uuid
$$;

-- A subscriber as its stream says, now: the ledger asks this before each mail, because a view may be a moment behind.
create function newsletter.subscriber(id text)
returns table (status text, round integer, suppressed text, address text, categories jsonb, frequency text, paused_until date)
language sql stable as $$
    select (array_agg(case e.type when 'SubscriptionRequested' then 'pending' when 'Unsubscribed' then 'unsubscribed'
                                  when 'PersonErased' then 'erased' else 'confirmed' end order by e.version desc)
            filter (where e.type in ('SubscriptionRequested', 'SubscriptionConfirmed', 'SubscriberImported', 'Unsubscribed',
                                     'PersonErased')))[1],
           coalesce(max((e.data->>'round')::integer) filter (where e.type in ('SubscriptionConfirmed', 'SubscriberImported')), 0),
           (array_agg(e.data->>'reason') filter (where e.type = 'SubscriberSuppressed'))[1],
           (array_agg(e.data->>'address') filter (where e.data ? 'address'))[1],
           (array_agg(e.data->'categories' order by e.version desc) filter (where e.data ? 'categories'))[1],
           coalesce((array_agg(e.data->>'frequency' order by e.version desc) filter (where e.type = 'PreferencesSet'))[1], 'weekly'),
           (array_agg((e.data->>'paused_until')::date order by e.version desc) filter (where e.type = 'PreferencesSet'))[1]
    from log.recorded_events e where e.stream = newsletter.stream_of(id)
$$;
