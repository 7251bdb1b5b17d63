-- Jobs, which go on after a crash, and the audit trail.

-- name: job
-- body holds all of it; the other columns are what it is found by. state is a word of core/job.py.
create table job (
  id blob primary key,
  organisation_id blob not null,
  state text not null,
  revision integer not null,
  ended_ms integer,
  body blob not null
) without rowid;
create index job_by_organisation on job (organisation_id, id);
create index job_open on job (organisation_id, id) where state in ('queued', 'running');
create index job_by_end on job (ended_ms) where ended_ms is not null;

-- name: audit
create table audit (
  id blob primary key,
  organisation_id blob not null,
  actor text not null,
  key_id blob,
  action text not null,
  subject text,
  body blob not null
) without rowid;
create index audit_by_organisation on audit (organisation_id, id);
create index audit_by_subject on audit (organisation_id, subject, id) where subject is not null;
