-- Whose half an incident or a job belongs to, so that a key is shown the ones of its own (docs/decisions/0603).

-- name: incident
-- The environment stands before the id: a test key does not go through all that is live.
alter table incident add column environment text not null default 'live';
update incident set environment = 'test' where json_extract(cast(body as text), '$.environment') = 'test';
drop index incident_by_organisation;
create index incident_by_organisation on incident (organisation_id, environment, id);

-- name: job
-- The body is MessagePack, whose first text "environment" is the name of that member: the ids before it are too short
-- to hold it, and what a caller wrote comes behind.
alter table job add column environment text not null default 'live';
update job set environment = 'test'
where substr(body, instr(body, x'ab656e7669726f6e6d656e74') + 12, 5) = x'a474657374';
