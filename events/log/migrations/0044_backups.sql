-- A database that was restored: what was sent in the time it lacks, and how old its last backup is.
--
-- newsletter.mails.claims  how often a mail was claimed. The marks outside the database name the count, so a ledger that counts
--                          less is one that went back.
-- status.backups           the backups of this database that were finished: when, how far the log was, and their bytes.

alter table newsletter.mails add column claims integer not null default 0;

create table status.backups (
    finished_at timestamptz not null,
    name        text        not null,
    position    bigint      not null,
    bytes       bigint      not null,
    constraint backups_pkey primary key (finished_at)
);
