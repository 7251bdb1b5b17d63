-- What remotes call the last message by which a destination was told of a subject, so that the message can be edited.

-- name: posted
create table posted (
  destination_id blob not null,
  lane blob not null,
  bucket integer not null,
  organisation_id blob not null,
  event_id blob not null,
  remote_id text not null,
  primary key (destination_id, lane)
) without rowid;
create index posted_by_event on posted (event_id);
