-- The first schema, the same tables and columns as SQLite's. Ids are bytea of 16 bytes, a UUIDv7 whose bits name the
-- bucket (core/identifiers.py); times are milliseconds; text is compared byte by byte. The keys of the tables that grow
-- with the traffic begin with the bucket, by which they can be distributed: no unique index leaves it out and no foreign
-- key joins them. event, delivery_history and attempt are partitioned by the time in their ids; partitions are made as
-- they are needed (partition_span), and whole ones are dropped when they are past their time.

-- name: store
-- One row. xid_offset is added to transaction ids, so that positions go on rising when the store is restored into a
-- server whose transaction ids are behind the old one's.
create table store (
  one boolean primary key default true check (one),
  xid_offset bigint not null,
  probed_ms bigint not null
);
insert into store (xid_offset, probed_ms) values (0, 0);

-- name: gate
-- Rows that are locked so that one thing is done at a time: catalog, runs, partitions, a channel's subscriptions.
create table gate (
  name text collate "C" primary key
);

-- name: partition_span
-- Which times have their partitions, the same for the three tables: from first_ms up to, not including, end_ms. What was
-- dropped stands here until what hung on its events is swept too.
create table partition_span (
  first_ms bigint primary key,
  end_ms bigint not null,
  is_dropped boolean not null default false
);

-- name: event
-- The immutable record. seq is its position: the storing transaction's id with its place in that transaction below, so
-- that everything whose position is below that of the oldest open transaction is there, and nothing comes in between.
create table event (
  bucket smallint not null,
  id bytea not null,
  seq bigint not null,
  organisation_id bytea not null,
  dialect text collate "C" not null,
  source text collate "C" not null,
  type text collate "C" not null,
  subject text collate "C",
  severity text collate "C",
  environment text collate "C" not null,
  time_ms bigint not null,
  data bytea not null,
  extension bytea,
  incident_state text collate "C",
  replay_of bytea,
  unrouted smallint,
  primary key (bucket, id)
) partition by range (id);
create index event_by_seq on event (seq);
create index event_by_organisation on event (organisation_id, environment, dialect, id);
create index event_by_type on event (organisation_id, type, environment, id);
create index event_by_source on event (organisation_id, source, environment, id);
create index event_by_subject on event (organisation_id, subject, id) where subject is not null;
create index event_by_severity on event (organisation_id, severity, environment, id) where severity is not null;
-- 1 marks an event that was stored without any delivery; one may have been added since.
create index event_unrouted on event (organisation_id, environment, id) where unrouted = 1;

-- name: replayed
create table replayed (
  bucket smallint not null,
  event_id bytea not null,
  by_event_id bytea not null,
  organisation_id bytea not null,
  primary key (bucket, event_id)
);
create index replayed_by_organisation on replayed (organisation_id, event_id);

-- name: idempotency
create table idempotency (
  bucket smallint not null,
  digest bytea not null,
  event_id bytea not null,
  fingerprint bytea not null,
  expires_ms bigint not null,
  primary key (bucket, digest)
);
create index idempotency_by_expiry on idempotency (expires_ms);

-- name: quota
create table quota (
  organisation_id bytea not null,
  counter text collate "C" not null,
  used bigint not null,
  primary key (organisation_id, counter)
) with (fillfactor = 50);

-- name: incident
create table incident (
  bucket smallint not null,
  id bytea not null,
  organisation_id bytea not null,
  environment text collate "C" not null,
  channel text collate "C" not null,
  state text collate "C" not null,
  opened_ms bigint not null,
  updated_ms bigint not null,
  closed_ms bigint,
  body bytea not null,
  primary key (bucket, id)
);
create index incident_by_organisation on incident (organisation_id, environment, id);
create index incident_by_id on incident (id);

-- name: delivery
-- Live rows only. state: 0 ready, 1 leased (due_ms is then the lease's end), 2 blocked behind its lane. lease is the
-- fencing number. place is the event's seq where there is a lane.
create table delivery (
  bucket smallint not null,
  id bytea not null,
  organisation_id bytea not null,
  event_id bytea not null,
  destination_id bytea not null,
  state smallint not null,
  due_ms bigint not null,
  lease bigint not null,
  attempts integer not null,
  retries_from integer not null default 0,
  lane bytea,
  place bigint,
  status_code integer,
  duration_ms bigint,
  error text,
  primary key (bucket, id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
-- The same index finds due work and leases that ran out; the depth of the queue is counted from it alone, of some buckets
-- too. What is due at the same moment goes in the order of the ids.
create index delivery_due on delivery (destination_id, due_ms, id) include (state, bucket) where state in (0, 1);
create index delivery_by_event on delivery (event_id);
-- Lists show the newest first; the key, which begins with the bucket, does not lead there.
create index delivery_by_organisation on delivery (organisation_id, id);
create index delivery_by_lane on delivery (destination_id, lane, state, place) where lane is not null;
create index delivery_leased on delivery (organisation_id, event_id) where state = 1;
create index delivery_retrying on delivery (organisation_id, event_id) where state in (0, 2) and attempts > 0;
create index delivery_untried on delivery (organisation_id, event_id) where state in (0, 2) and attempts = 0;

-- name: lane
-- One row for each lane in which something is live; whoever lets a delivery into a lane or takes one out locks it first.
-- bucket is that of the lane's subject, and of all that goes in it.
create table lane (
  bucket smallint not null,
  destination_id bytea not null,
  lane bytea not null,
  primary key (bucket, destination_id, lane)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- name: delivery_history
-- state: 3 delivered, 4 expired, 5 cancelled.
create table delivery_history (
  bucket smallint not null,
  id bytea not null,
  organisation_id bytea not null,
  event_id bytea not null,
  destination_id bytea not null,
  state smallint not null,
  settled_ms bigint not null,
  lease bigint not null,
  attempts integer not null,
  lane bytea,
  status_code integer,
  duration_ms bigint,
  error text,
  primary key (bucket, id)
) partition by range (id);
create index delivery_history_by_event on delivery_history (event_id, state);
create index delivery_history_by_organisation on delivery_history (organisation_id, state, id);
create index delivery_history_by_destination on delivery_history (destination_id, state, id);
create index delivery_history_by_sent_event on delivery_history (destination_id, event_id);
create index delivery_history_given_up on delivery_history (organisation_id, event_id) where state in (4, 5);

-- name: attempt
-- number counts from 1; 0 marks a late attempt, whose lease was lost. seq rises, with gaps.
create sequence attempt_seq;
create table attempt (
  bucket smallint not null,
  delivery_id bytea not null,
  seq bigint not null default nextval('attempt_seq'),
  number integer not null,
  body bytea not null,
  primary key (bucket, delivery_id, seq)
) partition by range (delivery_id);

-- name: posted
create table posted (
  bucket smallint not null,
  destination_id bytea not null,
  lane bytea not null,
  organisation_id bytea not null,
  event_id bytea not null,
  remote_id text not null,
  primary key (bucket, destination_id, lane)
);
create index posted_by_event on posted (event_id);

-- name: consumer_transaction
create table consumer_transaction (
  bucket smallint not null,
  event_id bytea not null,
  tx_key text collate "C" not null,
  organisation_id bytea not null,
  event_type text collate "C" not null,
  environment text collate "C" not null,
  state text collate "C" not null,
  lease_until_ms bigint,
  body bytea not null,
  output text,
  primary key (bucket, event_id, tx_key)
);
create index consumer_transaction_by_key
  on consumer_transaction (organisation_id, tx_key, event_type, environment, state, event_id);
create index consumer_transaction_by_lease
  on consumer_transaction (organisation_id, tx_key, event_type, environment, event_id, lease_until_ms)
  where state = 'processing' and lease_until_ms is not null;
create index consumer_transaction_by_organisation on consumer_transaction (organisation_id, event_id, tx_key, state);

-- name: consumer_run
-- Every event of the type from first_id up to, not including, end_id has a transaction of this key. Whoever stores an
-- event among old ones, or writes a run down, locks the gate of the runs first.
create table consumer_run (
  organisation_id bytea not null,
  event_type text collate "C" not null,
  environment text collate "C" not null,
  tx_key text collate "C" not null,
  first_id bytea not null,
  end_id bytea not null,
  primary key (organisation_id, event_type, environment, tx_key, first_id)
);

-- name: catalog
-- A body that is null marks what was removed. Revisions rise in the order of commits: writers lock the catalog's gate.
create table catalog (
  kind text collate "C" not null,
  id bytea not null,
  organisation_id bytea not null,
  name text collate "C",
  revision bigint not null,
  body bytea,
  primary key (kind, id)
);
create unique index catalog_by_name on catalog (kind, organisation_id, name) where name is not null;
create index catalog_by_revision on catalog (revision);

-- name: device
create table device (
  key text collate "C" primary key,
  organisation_id bytea not null,
  body bytea not null
);

-- name: subscription
create table subscription (
  device_key text collate "C" not null,
  channel_id bytea not null,
  organisation_id bytea not null,
  primary key (device_key, channel_id)
);
create index subscription_by_channel on subscription (channel_id, device_key);

-- name: mailbox
create table mailbox (
  device_key text collate "C" not null,
  delivery_id bytea not null,
  event_id bytea not null,
  expires_ms bigint not null,
  primary key (device_key, delivery_id)
);
create index mailbox_by_expiry on mailbox (expires_ms);
create index mailbox_by_event on mailbox (event_id);

-- name: job
-- body holds all of it; the other columns are what it is found by. state is a word of core/job.py.
create table job (
  id bytea primary key,
  organisation_id bytea not null,
  environment text collate "C" not null,
  state text collate "C" not null,
  revision bigint not null,
  ended_ms bigint,
  body bytea not null
);
create index job_by_organisation on job (organisation_id, id);
create index job_open on job (organisation_id, id) where ended_ms is null;
create index job_by_end on job (ended_ms) where ended_ms is not null;

-- name: audit
create table audit (
  id bytea primary key,
  organisation_id bytea not null,
  actor text collate "C" not null,
  key_id bytea,
  action text collate "C" not null,
  subject text collate "C",
  body bytea not null
);
create index audit_by_organisation on audit (organisation_id, id);
create index audit_by_subject on audit (organisation_id, subject, id) where subject is not null;
