-- log.named_ballots   up to which position every voter's disqualification has its ballots named in a BallotsVoided. Logs are older
--                     than that event, and an import may be: `migrate` appends what is missing.

create table log.named_ballots (
    only_row boolean not null default true,
    through  bigint  not null,
    constraint named_ballots_pkey primary key (only_row),
    constraint named_ballots_only_row check (only_row)
);
insert into log.named_ballots (through) values (0);
