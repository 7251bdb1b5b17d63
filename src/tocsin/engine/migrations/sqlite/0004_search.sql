-- What a search of events starts from: for each filter an index whose entries lie in the order of the events' ids
-- (docs/decisions/0660). The ones that every event or delivery pays for replace others or are narrow; the rest are
-- partial, and paid for by what is rare.

-- name: event
-- The environment stands before the id, so that the few events of one are not searched for among the many of the other;
-- the dialect too, which makes a list of all of them a merge of seven.
drop index event_by_organisation;
create index event_by_organisation on event (organisation_id, environment, dialect, id);
drop index event_by_source;
create index event_by_source on event (organisation_id, source, environment, id);
create index event_by_severity on event (organisation_id, severity, environment, id) where severity is not null;
-- 1 marks an event that was stored without any delivery; one may have been added since.
alter table event add column unrouted integer;
update event set unrouted = 1
where not exists (select 1 from delivery where event_id = event.id)
  and not exists (select 1 from delivery_history where event_id = event.id);
create index event_unrouted on event (organisation_id, environment, id) where unrouted = 1;

-- name: replayed
alter table replayed add column organisation_id blob;
update replayed set organisation_id = (select organisation_id from event where id = replayed.event_id);
create index replayed_by_organisation on replayed (organisation_id, event_id);

-- name: delivery
create index delivery_leased on delivery (organisation_id, event_id) where state = 1;
create index delivery_retrying on delivery (organisation_id, event_id) where state in (0, 2) and attempts > 0;
create index delivery_untried on delivery (organisation_id, event_id) where state in (0, 2) and attempts = 0;

-- name: delivery_history
-- The state stands before the id: lists of what failed do not go through what was delivered.
drop index delivery_history_by_organisation;
create index delivery_history_by_organisation on delivery_history (organisation_id, state, id);
drop index delivery_history_by_destination;
create index delivery_history_by_destination on delivery_history (destination_id, state, id);
-- With the state in it, an event's status is told from the index alone.
drop index delivery_history_by_event;
create index delivery_history_by_event on delivery_history (event_id, state);
create index delivery_history_given_up on delivery_history (organisation_id, event_id) where state in (4, 5);
create index delivery_history_by_sent_event on delivery_history (destination_id, event_id);
