-- newsletter.holds  one row for each provider that refused mail of ours lately for no fault of its readers ('': the relay, and so
--                   everybody). `refused` counts such mails in a row, `at` dates the last. A row that is long enough is held: its
--                   digests wait, and at `probe_at` one of them is tried, at intervals that grow with `step`. Whoever resumed a
--                   hold for "nearly every address as unknown" has decided at `believed_at` to believe its refusals.
--                   A row that isn't held goes after three days, so that no small domain's name is kept.
-- newsletter.mails  `provider` names the provider that a mail waits for (then `not_before` is infinity), or that refused it for no
--                   fault of its reader. Null in all others, and again when that is over.
--
-- An issue isn't held any more: `held_at`, `held_for` and `refusals_believed` of newsletter.issues are read by earlier releases
-- alone. A held issue's mails wait for the relay from now on.

create table newsletter.holds (
    provider    text        not null collate "C",
    refused     integer     not null default 0,
    at          timestamptz not null default now(),
    held_at     timestamptz,
    held_for    text,
    probe_at    timestamptz,
    step        integer     not null default 0,
    believed_at timestamptz,
    constraint holds_pkey primary key (provider),
    constraint holds_held_for_a_reason check (held_at is null or (held_for is not null and probe_at is not null))
);

insert into newsletter.holds (provider, held_at, held_for, probe_at)
select '', min(i.held_at), coalesce(max(i.held_for), 'refused, about us'), now()
from newsletter.issues i where i.held_at is not null and i.state = 'planned'
having count(*) > 0;

-- The table grows by an issue a week, and everything is migrated in one transaction.
-- squawk-ignore prefer-robust-stmts
alter table newsletter.mails add column provider text collate "C";

-- squawk-ignore require-concurrent-index-creation
create index mails_provider_idx on newsletter.mails (provider) where provider is not null;
