-- The folder of send marks that this database knows, so that another one, or none, isn't taken for it.
--
-- newsletter.schedule.marks_folder  what the file `id` in the folder that BALLOTPRESS_SENT_MARKS_DIR names says. Null until a
--                                   worker has marked there, and when an operator has said that the marks are lost.

alter table newsletter.schedule add column marks_folder text;
