-- A job that was cancelled is open until its last batch is over too (docs/decisions/0620).
drop index job_open;
create index job_open on job (organisation_id, id) where ended_ms is null;
