-- An issue carries a checkpoint of the public log, chosen once, when it is planned: the signed note, the same for all its readers.
alter table newsletter.issues add column checkpoint text;
