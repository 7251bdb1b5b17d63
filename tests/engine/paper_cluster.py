"""A cluster on paper: in one PostgreSQL, the catalogue and the functions of Citus that are asked and called here.

Rows stay where they are, and what would be done to them is written down. It hashes as Citus does, so that buckets are
spread over as many shards as there.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from engine.postgres_server import PostgresServer

_ALONE_WITHIN_S = 60.0
_STATEMENTS = (
    "set allow_system_table_mods = on",
    "insert into pg_extension values (99999, 'citus', 10, 2200, false, '13.0-1', null, null)",
    "create table pg_dist_local_group (groupid integer not null)",
    "insert into pg_dist_local_group values (0)",
    """
    create table pg_dist_node (
      nodeid integer primary key, nodename text not null, nodeport integer not null, isactive boolean not null,
      noderole text not null, shouldhaveshards boolean not null, prepared_max integer, version integer,
      groupid integer generated always as (nodeid - 1) stored
    )
    """,
    """
    insert into pg_dist_node values
      (1, 'coordinator', 5432, true, 'primary', false, 100, 160004),
      (2, 'worker-1', 5432, true, 'primary', true, 100, 160004),
      (3, 'worker-2', 5432, true, 'primary', true, 100, 160004)
    """,
    """
    create table pg_dist_partition (
      logicalrelid regclass primary key, partmethod "char" not null, partkey text not null,
      colocationid integer not null, shard_count integer not null
    )
    """,
    "create table pg_dist_transaction (groupid integer not null, gid text not null)",
    "create table written_down (number serial, what text not null)",
    "create table loses (name text not null)",
    "create function column_to_column_name(regclass, partkey text) returns text language sql as 'select partkey'",
    """
    create function run_command_on_all_nodes(command text)
    returns table (nodeid integer, success boolean, result text) language plpgsql as $$
    declare
      told text;
    begin
      execute command into strict told;
      return query
      select each.nodeid, prepared_max is not null,
        case when command like '%max_prepared_transactions%' then prepared_max || ' ' || version else told end
      from pg_dist_node each;
    end
    $$
    """,
    """
    create function get_shard_id_for_distribution_column(name regclass, value anyelement) returns bigint
    language sql as $$
      select 102008 + least(
        (hashint2(value::smallint)::bigint + 2147483648) / (4294967296 / shard_count), shard_count - 1
      )
      from pg_dist_partition where logicalrelid = name
    $$
    """,
    """
    create function create_distributed_table(
      table_name regclass, distribution_column text, colocate_with text default 'default',
      shard_count integer default null
    ) returns void language plpgsql as $$
    begin
      insert into written_down (what) values ('distribute ' || table_name);
      if colocate_with in ('default', 'none') then
        insert into pg_dist_partition
        values (table_name, 'h', distribution_column, table_name::oid::integer, shard_count);
      else
        insert into pg_dist_partition
        select table_name, 'h', distribution_column, other.colocationid, other.shard_count
        from pg_dist_partition other where logicalrelid = colocate_with::regclass;
      end if;
      if exists (select 1 from loses where name = table_name::text) then
        execute format('delete from %s', table_name);
      end if;
    end
    $$
    """,
    """
    create function truncate_local_data_after_distributing_table(table_name regclass) returns void language sql as $$
      insert into written_down (what) values ('truncate ' || table_name)
    $$
    """,
)


class PaperCluster:
    """The cluster on paper in one database.

    Args:
        name: of the database, which holds a store.
    """

    def __init__(self, server: PostgresServer, name: str) -> None:
        self._server = server
        self.name = name
        self.dsn = server.dsn(name)
        self.execute(*_STATEMENTS, f"alter database {name} set citus.shard_replication_factor = 1")

    def execute(self, *statements: str) -> list[list[Any]]:
        """Return what statements give, each run by a connection of its own that is gone when this returns."""
        return self._server.execute(*statements, database=self.name)

    def wait_until_alone(self) -> None:
        """Return once nobody has a connection: one that was closed is listed until its process has ended."""
        query = f"select count(*) from pg_stat_activity where datname = '{self.name}'"
        deadline_s = time.monotonic() + _ALONE_WITHIN_S
        while self._server.execute(query) != [[(0,)]]:
            assert time.monotonic() < deadline_s, "somebody stays connected"
            threading.Event().wait(0.05)

    @property
    def written_down(self) -> list[str]:
        """What was done to tables, in order."""
        return [row[0] for row in self.execute("select what from written_down order by number")[0]]

    @property
    def distributed(self) -> dict[str, str]:
        """The tables that are distributed, each with its column."""
        return dict(self.execute("select logicalrelid::text, partkey from pg_dist_partition")[0])
