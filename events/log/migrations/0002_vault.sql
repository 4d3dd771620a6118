-- vault.keys   one key per owner (a review, a person), wrapped under the vault key that `wrapped_under` names by a short id.
--              What is sealed under a key reads as erased once its row is gone. Not part of an export of the log.

create table vault.keys (
    owner         text        not null collate "C",
    wrapped       bytea       not null,
    wrapped_under text        not null collate "C",
    made_at       timestamptz not null default now(),
    constraint keys_pkey primary key (owner)
);
