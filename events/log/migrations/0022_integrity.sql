-- integrity.cohorts   votes that look bought, one row a cohort: which votes (of a tool, a choice, and a span), how they look, and what
--                     their removal would change. Whose votes they are is read from the log. `id` is a hash of tool, choice and the
--                     span in which the cohort was first seen, so a scan made anew finds the same rows. `revision` grows whenever
--                     what is said of the cohort does.
-- integrity.finds     what the detector found, whether or not its removal would change anything: what the next scan goes on from. A
--                     find that would change something is a cohort, of the same id.
-- integrity.scans     one row: how far the log was scanned, when, and what the last scan failed with.

create schema integrity;

create table integrity.cohorts (
    id                 text        not null collate "C",
    tool               text        not null collate "C",
    choice             text        not null collate "C",
    span               text        not null collate "C",
    begins             timestamptz not null,
    ends               timestamptz not null,
    votes              integer     not null,
    first_position     bigint      not null,
    last_position      bigint      not null,
    scores             jsonb       not null,
    p                  float8      not null,
    before             jsonb       not null,
    after              jsonb       not null,
    effect             float8      not null,
    unsettles          boolean     not null,
    revision           bigint      not null default 1,
    evaluated_position bigint      not null,
    found_at           timestamptz not null,
    constraint cohorts_pkey primary key (id),
    constraint cohorts_choice check (choice in ('ship', 'skip')),
    constraint cohorts_span check (span in ('10 minutes', '1 hour', '1 day', '1 week'))
);
create index cohorts_effect_idx on integrity.cohorts (effect desc, id);
create index cohorts_tool_idx on integrity.cohorts (tool, begins);

create table integrity.finds (
    id     text        not null collate "C",
    tool   text        not null collate "C",
    choice text        not null collate "C",
    span   text        not null collate "C",
    begins timestamptz not null,
    ends   timestamptz not null,
    votes  integer     not null,
    scores jsonb       not null,
    p      float8      not null,
    seen   timestamptz not null,
    constraint finds_pkey primary key (id)
);
create index finds_ends_idx on integrity.finds (ends);

create table integrity.scans (
    only_row   boolean     not null default true,
    scanned_to timestamptz,
    scanned_at timestamptz,
    failed     text,
    constraint scans_pkey primary key (only_row),
    constraint scans_only_row check (only_row)
);
insert into integrity.scans default values;

-- When an id was made, in milliseconds since 1970: the first 48 bits of a UUIDv7 (RFC 9562, 5.7). Null for what is no id.
create function log.made_at(id text) returns bigint language sql immutable parallel safe as $$
    select case when id ~ '^[A-Za-z0-9_-]{22}$'
                then ('x' || encode(decode(translate(left(id, 8), '-_', '+/'), 'base64'), 'hex'))::bit(48)::bigint end
$$;
