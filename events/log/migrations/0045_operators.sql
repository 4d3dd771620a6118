-- operators.people           who has signed in at the provider: the name that stands in the log for a subject of an issuer. A name
--                            belongs to one subject for ever, and a subject keeps its first: so two names are two accounts.
-- operators.sessions         who has signed in to /ops, and how. The cookie's secret is here as a hash alone. `rests_on` is a keyed
--                            hash of the operator's token; `groups` are those of the provider that open something. `is_ended` says that
--                            somebody ended it, not its time. Deleted 90 days after the end; browser and network go with the end.
-- operators.used_states      the states of sign-ins at the provider that came back, for as long as one is worth anything: each once.
-- operators.acts             what operators did that is no event: signed in, signed out, ended a session. `position` is the log's head
--                            then, so that they have a place among its events. Kept 90 days.
-- operators.failed_sign_ins  how many sign-ins failed in an hour, and why. Kept 90 days.

create schema operators;

create table operators.people (
    issuer   text        not null,
    subject  text        not null,
    name     text        not null,
    first_at timestamptz not null default now(),
    constraint people_pkey primary key (issuer, subject),
    constraint people_name_key unique (name)
);

create table operators.sessions (
    id       text        not null collate "C",
    secret   bytea       not null,
    operator text        not null,
    how      text        not null,
    rests_on bytea,
    issuer   text,
    subject  text,
    groups   text[]      not null default '{}',
    browser  text        not null,
    network  text        not null,
    began_at timestamptz not null default now(),
    seen_at  timestamptz not null default now(),
    ends_at  timestamptz not null,
    ended_at timestamptz,
    is_ended boolean     not null default false,
    constraint sessions_pkey primary key (id),
    constraint sessions_secret_key unique (secret),
    constraint sessions_how check (how in ('token', 'oidc'))
);
create index sessions_ends_at_idx on operators.sessions (ends_at);

create table operators.used_states (
    state   bytea       not null,
    used_at timestamptz not null default now(),
    constraint used_states_pkey primary key (state)
);

create table operators.acts (
    id       bigint      not null generated always as identity,
    position bigint      not null,
    at       timestamptz not null default now(),
    operator text        not null,
    kind     text        not null collate "C",
    subject  text        not null,
    about    text        not null default '',
    constraint acts_pkey primary key (position, id)
);
create index acts_at_idx on operators.acts (at);

create table operators.failed_sign_ins (
    hour   timestamptz not null,
    how    text        not null,
    why    text        not null,
    failed bigint      not null,
    constraint failed_sign_ins_pkey primary key (hour, how, why)
);
