-- status.processes.left_at   when a process stopped in order, so that nobody looks for it; null of one that runs, or was killed.

alter table status.processes add column left_at timestamptz;
