"""Every command: where it is, and what it is for; the help is made of this table, without loading any of them."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A command.

    Attributes:
        place: package and module below ``tocsin.cli``, a colon, and the command's name in it.
        summary: one line, the first sentence of the command's own help.
    """

    place: str
    summary: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Run a gateway": {
        "demo": Entry(
            "gateway.demo:demo",
            "Start a gateway and a receiver, send an event by each of the five APIs, and show what arrived.",
        ),
        "serve": Entry("gateway.serve:serve", "Serve all five dialects on one port, and send what comes in."),
        "work": Entry("gateway.work:work", "Send what gateways have stored in a PostgreSQL, and do their jobs."),
        "init": Entry(
            "gateway.init:init", "Create the data and print the organisation's key and the operator's, once."
        ),
        "backup": Entry(
            "gateway.backup:backup",
            "Copy the data to a new directory, while the gateway runs or not, and check the copy.",
        ),
        "migrate": Entry(
            "gateway.migrate:migrate",
            "Move a stopped gateway's data from SQLite into an empty PostgreSQL, and compare both.",
        ),
        "db": Entry(
            "gateway.db:db",
            "Look after a PostgreSQL while no gateway uses it: distribute it over a Citus cluster.",
        ),
        "doctor": Entry(
            "gateway.doctor:doctor", "Check this machine, its data, and the gateway, and say what to do."
        ),
    },
    "Send": {
        "send": Entry("sending.send:send", "Send a categorised event to the people of the organisation."),
        "event": Entry("sending.event:event", "Open, update and close an incident on a channel."),
        "emit": Entry("sending.buildable:emit", "Emit an event for consumers; prints its key."),
        "query": Entry(
            "sending.buildable:query", "List events by what a consumer group has made of them, oldest first."
        ),
        "transact": Entry("sending.buildable:transact", "Start and end a consumer group's work on an event."),
        "ingest": Entry(
            "sending.ingest:ingest", "Send a signed event to an endpoint, byte for byte as it is in the file."
        ),
        "trigger": Entry(
            "sending.trigger:trigger", "Send sample events of any dialect, one or many, and tell how long they took."
        ),
        "run": Entry(
            "sending.run:run",
            "Run a command, with an incident that opens when it fails and closes when it next succeeds.",
        ),
    },
    "Watch": {
        "tail": Entry("watching.tail:tail", "Show events and deliveries as they happen, until Ctrl-C."),
        "listen": Entry(
            "watching.listen:listen", "Forward events to a program on this machine, as signed webhooks, until Ctrl-C."
        ),
        "events": Entry(
            "watching.events:events", "List events of all dialects, look at one, and send past ones again."
        ),
        "retry": Entry(
            "watching.retry:retry", "Send again what destinations missed, by default all that was given up."
        ),
        "jobs": Entry("watching.jobs:jobs", "Look at bulk replays and recoveries, and cancel them."),
    },
    "Manage": {
        "destinations": Entry("managing.destinations:destinations", "Say where events go, try it, hold it back."),
        "endpoints": Entry("managing.endpoints:endpoints", "List, make and remove PromptJang's endpoints."),
        "account": Entry(
            "managing.account:account", "Say how the people of the organisation are told of categorised events."
        ),
        "categories": Entry("managing.categories:categories", "List, make and remove categories."),
        "channels": Entry("managing.channels:channels", "List, make and remove the channels of incidents."),
        "keys": Entry("managing.keys:keys", "List, make and revoke API keys."),
        "service-keys": Entry(
            "managing.service_keys:service_keys", "List, make and revoke the keys that sign Native Frame's tokens."
        ),
        "profile": Entry("managing.profile:profile", "Keep gateways with their keys under names."),
        "export": Entry(
            "managing.export:export",
            "Print the history, an event a line with all about it, newest first; or the configuration.",
        ),
        "import": Entry(
            "managing.import_config:import_config", "Make what is missing of a configuration, and say what differs."
        ),
    },
    "Tools": {
        "whoami": Entry("tools.whoami:whoami", "Show which gateway and which organisation commands would talk to."),
        "verify": Entry("tools.verify:verify", "Check a webhook's signature, and say why it is wrong."),
        "jwt": Entry("tools.jwt:make_token", "Make a token for Native Frame's routes, to try things out."),
        "openapi": Entry(
            "tools.openapi:openapi", "Print the OpenAPI document of every route, as these settings make it."
        ),
        "dev": Entry("tools.dev:dev", "Try out on this machine what people are told, without an account anywhere."),
        "completion": Entry("tools.completion:completion", "Print the script that completes commands in a shell."),
        "version": Entry("tools.version:version", "Show the version."),
    },
}
"""Commands by what they do, in the order of the help."""

OF_SETTINGS = frozenset({"serve", "work", "init"})
"""Commands whose options are settings: their variables are those of docs/settings.md."""


def entries() -> dict[str, Entry]:
    """Return all commands by name, in the order of the help."""
    return {name: entry for section in SECTIONS.values() for name, entry in section.items()}
