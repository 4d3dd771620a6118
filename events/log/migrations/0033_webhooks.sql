-- webhooks.subscriptions  who is told of what happens: an address, the kinds of messages, and a cursor over the log. Every message of
--                         a position up to `position` is delivered, and of the next position the first `part`. Rows, not events: a
--                         replay tells nobody anything twice, and an address is nobody's business but the operators'.
--                         `lease` names the process that delivers, until `leased_until`; whoever lost it may not move the cursor.
-- webhooks.secrets        what its messages are signed under, each sealed under the vault's key of the subscription. A secret that was
--                         replaced still signs until `ends_at`.

create schema webhooks;

create table webhooks.subscriptions (
    id           text        not null collate "C",
    url          text        not null,
    kinds        text[]      not null,
    note         text        not null,
    made_by      text        not null,
    made_at      timestamptz not null default now(),
    position     bigint      not null,
    part         integer     not null default 0,
    is_on        boolean     not null default true,
    off_reason   text,
    off_at       timestamptz,
    failures     integer     not null default 0,
    failed       text,
    failed_at    timestamptz,
    delivered_at timestamptz,
    not_before   timestamptz not null default now(),
    lease        text        collate "C",
    leased_until timestamptz,
    constraint subscriptions_pkey primary key (id),
    constraint subscriptions_position check (position >= 0 and part >= 0),
    constraint subscriptions_off check (is_on = (off_reason is null))
);

create table webhooks.secrets (
    subscription text        not null collate "C",
    made_at      timestamptz not null default clock_timestamp(),
    ends_at      timestamptz,
    sealed       text        not null,
    constraint secrets_pkey primary key (subscription, made_at),
    constraint secrets_subscription_fkey foreign key (subscription) references webhooks.subscriptions (id) on delete cascade
);
