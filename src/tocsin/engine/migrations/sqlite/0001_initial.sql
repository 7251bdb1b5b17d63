-- The first schema. Ids are 16-byte UUIDv7 whose bits name the bucket (core/identifiers.py); times are milliseconds.
-- The keys of this engine begin with time-ordered ids instead of the bucket: one file has no shards, and 64 separate
-- ends of a b-tree would make every commit write up to 64 pages instead of one (docs/decisions/0002).

-- name: event
-- The immutable record. seq is the order of commits, which tail and lanes follow; it never falls, since the newest event
-- is never dropped.
create table event (
  seq integer primary key,
  bucket integer not null,
  id blob not null,
  organisation_id blob not null,
  dialect text not null,
  source text not null,
  type text not null,
  subject text,
  severity text,
  environment text not null,
  time_ms integer not null,
  data blob not null,
  extension blob,
  incident_state text,
  replay_of blob
);
create unique index event_by_id on event (id);
create index event_by_organisation on event (organisation_id, id);
create index event_by_type on event (organisation_id, type, environment, id);
create index event_by_source on event (organisation_id, source, id);
create index event_by_subject on event (organisation_id, subject, id) where subject is not null;

-- name: replayed
-- Events that another took the place of; a table of its own, since events never change.
create table replayed (
  event_id blob primary key,
  by_event_id blob not null
) without rowid;

-- name: idempotency
create table idempotency (
  bucket integer not null,
  digest blob not null,
  event_id blob not null,
  fingerprint blob not null,
  expires_ms integer not null,
  primary key (bucket, digest)
) without rowid;
create index idempotency_by_expiry on idempotency (expires_ms);

-- name: quota
create table quota (
  organisation_id blob not null,
  counter text not null,
  used integer not null,
  primary key (organisation_id, counter)
) without rowid;

-- name: incident
create table incident (
  id blob primary key,
  bucket integer not null,
  organisation_id blob not null,
  channel text not null,
  state text not null,
  opened_ms integer not null,
  updated_ms integer not null,
  closed_ms integer,
  body blob not null
) without rowid;
create index incident_by_organisation on incident (organisation_id, id);

-- name: delivery
-- Live rows only, so that the queue stays small whatever the history is.
-- state: 0 ready, 1 leased (due_ms is then the lease's end), 2 blocked behind its lane. lease is the fencing number.
-- place is the event's seq where there is a lane: ids may fall when the clock is set back, the order of commits does not.
create table delivery (
  id blob primary key,
  bucket integer not null,
  organisation_id blob not null,
  event_id blob not null,
  destination_id blob not null,
  state integer not null,
  due_ms integer not null,
  lease integer not null,
  attempts integer not null,
  retries_from integer not null default 0,
  lane blob,
  place integer,
  status_code integer,
  duration_ms integer,
  error text
) without rowid;
-- The same index finds due work and leases that ran out, so a crash needs no sweeper.
create index delivery_due on delivery (destination_id, due_ms) where state in (0, 1);
create index delivery_by_event on delivery (event_id);
create index delivery_by_lane on delivery (destination_id, lane, state, place) where lane is not null;

-- name: delivery_history
-- state: 3 delivered, 4 expired, 5 cancelled.
create table delivery_history (
  id blob primary key,
  bucket integer not null,
  organisation_id blob not null,
  event_id blob not null,
  destination_id blob not null,
  state integer not null,
  settled_ms integer not null,
  lease integer not null,
  attempts integer not null,
  lane blob,
  status_code integer,
  duration_ms integer,
  error text
) without rowid;
create index delivery_history_by_event on delivery_history (event_id);
create index delivery_history_by_destination on delivery_history (destination_id, id);
create index delivery_history_by_organisation on delivery_history (organisation_id, id);

-- name: attempt
-- number counts from 1; 0 marks a late attempt, whose lease was lost.
create table attempt (
  seq integer primary key,
  delivery_id blob not null,
  number integer not null,
  body blob not null
);
create index attempt_by_delivery on attempt (delivery_id);

-- name: consumer_transaction
-- Whatever finds or counts rows stands in an index: a row may be long, and none is read that is not shown. The output
-- comes last, so that who does not ask for it does not read it either.
create table consumer_transaction (
  event_id blob not null,
  tx_key text not null,
  organisation_id blob not null,
  event_type text not null,
  environment text not null,
  state text not null,
  lease_until_ms integer,
  body blob not null,
  output text
);
create unique index consumer_transaction_by_event on consumer_transaction (event_id, tx_key);
create index consumer_transaction_by_key
  on consumer_transaction (organisation_id, tx_key, event_type, environment, state, event_id);
-- By event and not by time, so that lapsed ones are found in the order in which they are listed.
create index consumer_transaction_by_lease
  on consumer_transaction (organisation_id, tx_key, event_type, environment, event_id, lease_until_ms)
  where state = 'processing' and lease_until_ms is not null;
create index consumer_transaction_by_organisation on consumer_transaction (organisation_id, event_id, tx_key, state);

-- name: consumer_run
-- Every event of the type from first_id up to, not including, end_id has a transaction of this key: who looks for
-- unstarted events steps over the whole run at once.
create table consumer_run (
  organisation_id blob not null,
  tx_key text not null,
  event_type text not null,
  environment text not null,
  first_id blob not null,
  end_id blob not null,
  primary key (organisation_id, tx_key, event_type, environment, first_id)
) without rowid;

-- name: catalog
-- A body that is null marks what was removed, so that other processes learn of it.
create table catalog (
  kind text not null,
  id blob not null,
  organisation_id blob not null,
  name text,
  revision integer not null,
  body blob,
  primary key (kind, id)
) without rowid;
create unique index catalog_by_name on catalog (kind, organisation_id, name) where name is not null;
create index catalog_by_revision on catalog (revision);

-- name: device
create table device (
  key text primary key,
  organisation_id blob not null,
  body blob not null
) without rowid;

-- name: subscription
create table subscription (
  device_key text not null,
  channel_id blob not null,
  organisation_id blob not null,
  primary key (device_key, channel_id)
) without rowid;
create index subscription_by_channel on subscription (channel_id, device_key);

-- name: mailbox
create table mailbox (
  device_key text not null,
  delivery_id blob not null,
  event_id blob not null,
  expires_ms integer not null,
  primary key (device_key, delivery_id)
) without rowid;
create index mailbox_by_expiry on mailbox (expires_ms);
create index mailbox_by_event on mailbox (event_id);
