-- A relay that refuses nearly every address as unknown is doubted once for each issue: the issue is held, and once an operator has
-- resumed it, such refusals are believed. Mails are given up three days after they were planned, or after the last resumption.
alter table newsletter.issues add column refusals_believed boolean not null default false;
alter table newsletter.schedule add column resumed_at timestamptz;
