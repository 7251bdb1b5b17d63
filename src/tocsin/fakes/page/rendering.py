"""The page's text: what arrived, newest first, every word of it escaped.

Nothing of what arrived becomes a tag, an attribute's end, a style or a script; colours are numbers before they are
written.
"""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

from tocsin.core.clock import rfc3339
from tocsin.fakes.control import Controlled
from tocsin.fakes.discord import Discord, DiscordMessage
from tocsin.fakes.page.markdown import marked_up
from tocsin.fakes.smtp import Mail, Smtp
from tocsin.fakes.telegram import Telegram, TelegramMessage

SHOWN_MAX = 100
"""How many messages of each kind the page shows, the last ones."""
REQUESTS_SHOWN = 8

_BUTTONS = {
    "discord": (
        ("429", '{"answers":[{"status":429,"retry_after":3}]}'),
        ("404", '{"answers":[{"status":404}]}'),
        ("401", '{"answers":[{"status":401}]}'),
        ("400", '{"answers":[{"status":400}]}'),
        ("500", '{"answers":[{"status":500}]}'),
        ("slow", '{"answers":[{"delay_s":5}]}'),
        ("cut off", '{"answers":[{"down":true}]}'),
    ),
    "telegram": (
        ("429", '{"answers":[{"status":429,"retry_after":3}]}'),
        ("403", '{"answers":[{"status":403}]}'),
        ("401", '{"answers":[{"status":401}]}'),
        ("migrate", '{"answers":[{"migrate_to_chat_id":-1001234567890}]}'),
        ("500", '{"answers":[{"status":500}]}'),
        ("slow", '{"answers":[{"delay_s":5}]}'),
        ("cut off", '{"answers":[{"down":true}]}'),
    ),
    "smtp": (
        ("421", '{"answers":[{"status":421}]}'),
        ("451", '{"answers":[{"status":451}]}'),
        ("550", '{"answers":[{"status":550}]}'),
        ("554 to the data", '{"answers":[{"status":554,"stage":"data"}]}'),
        ("slow", '{"answers":[{"delay_s":5}]}'),
        ("cut off", '{"answers":[{"down":true}]}'),
    ),
}
"""What the next request gets, by the words on the button."""


class Shown(NamedTuple):
    """What the page shows."""

    discord: Discord
    telegram: Telegram
    smtp: Smtp


def rendered(shown: Shown) -> str:
    """Return the whole page."""
    discord, telegram, smtp = shown
    columns = (
        _column(
            discord, "Discord", discord.url, "".join(map(_discord_message, discord.messages[: -SHOWN_MAX - 1 : -1]))
        ),
        _column(
            telegram,
            "Telegram",
            telegram.url,
            "".join(map(_telegram_message, telegram.messages[: -SHOWN_MAX - 1 : -1])),
            _START_FORM,
        ),
        _column(smtp, "Mail", smtp.url, "".join(map(_mail, smtp.mails[: -SHOWN_MAX - 1 : -1]))),
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tocsin: what people are told</title>
<link rel="stylesheet" href="/page.css">
<script type="module" src="/page.js"></script>
</head>
<body>
<header><h1>What people are told</h1><p>Fakes of Discord, Telegram and a mail server. Nothing leaves this machine.
<span id="live" role="status"></span></p></header>
<main>{"".join(columns)}</main>
</body>
</html>
"""


_START_FORM = """<form class="start" data-do="telegram"><label>A user sends /start
<input name="token" placeholder="token of the link" autocomplete="off"></label>
<label>from chat <input name="chat_id" value="42" inputmode="numeric" size="6"></label><button>Send</button></form>"""


def _column(fake: Controlled, title: str, address: str, arrived: str, more: str = "") -> str:
    name = fake.name
    buttons = "".join(
        f'<button type="button" data-control="{name}" data-orders="{escape(orders)}">{escape(words)}</button>'
        for words, orders in _BUTTONS[name]
    )
    orders, words = (
        ('{"listening":false}', "take down") if fake.is_listening else ('{"listening":true}', "bring back")
    )
    buttons += _button(name, orders, words) + _button(name, '{"clear":true}', "clear")
    scripted = len(fake.scripted)
    count = fake.arrivals.count
    state = f"{count} request{'' if count == 1 else 's'}" + (f", {scripted} scripted" if scripted else "")
    state += "" if fake.is_listening else ", <strong>down</strong>"
    requests = "".join(
        f"<li><code>{escape(each.method)} {escape(_short(each.target))}</code> "
        f"<b class={_grade(each.status)}>{each.status or '-'}</b></li>"
        for each in fake.arrivals.last(REQUESTS_SHOWN)
    )
    return (
        f'<section class="{name}" aria-label="{title}"><h2>{title}</h2><p class="state" id="state-{name}">'
        f"<code>{escape(address)}</code> {state}</p>"
        f"<details open><summary>The next request gets</summary>"
        f'<div class="buttons" id="buttons-{name}">{buttons}</div>'
        f'{more}<ol class="requests" id="requests-{name}">{requests}</ol></details>'
        f'<div class="arrived" id="arrived-{name}">{arrived or _NOTHING}</div></section>'
    )


_NOTHING = '<p class="nothing">Nothing arrived yet.</p>'


def _button(name: str, orders: str, words: str) -> str:
    return f'<button type="button" data-control="{name}" data-orders="{escape(orders)}">{words}</button>'


def _grade(status: int | None) -> str:
    return '"none"' if status is None else '"good"' if status < 400 else '"bad"'


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def _time(at_ms: int) -> str:
    text = rfc3339(at_ms, milliseconds=True)
    return f'<time datetime="{text}">{text[11:23]}</time>'


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")


# -- Discord ---------------------------------------------------------------------------------------------------


def _discord_message(message: DiscordMessage) -> str:
    edited = f'<span class="edited">(edited {message.edits}x)</span>' if message.edits else ""
    pings = f'<span class="pings">wakes {escape(", ".join(message.pings))}</span>' if message.pings else ""
    content = f'<div class="content">{marked_up(message.content)}</div>' if message.content else ""
    return (
        f'<article id="discord-{message.id}" data-version="{message.edits}"><header><span class="who">Tocsin</span>'
        f'<span class="bot">APP</span> {_time(message.created_ms)} <span class="where">{escape(message.place)}</span>'
        f"{edited}{pings}</header>{content}{''.join(map(_embed, message.embeds))}</article>"
    )


def _embed(embed: dict[str, Any]) -> str:
    color = embed.get("color")
    # Discord takes 0 for no colour.
    fill = f"#{color:06x}" if isinstance(color, int) and color else "#4e5058"
    parts = [_embed_part("name", (embed.get("author") or {}).get("name"))]
    parts.append(_embed_part("title", embed.get("title")))
    parts.append(_embed_part("description", embed.get("description")))
    fields = embed.get("fields") or ()
    if fields:
        parts.append(f'<div class="fields">{"".join(map(_field, fields))}</div>')
    image = (embed.get("image") or {}).get("url")
    if image:
        parts.append(f'<div class="image">\U0001f5bc {escape(str(image))}</div>')
    footer = [str((embed.get("footer") or {}).get("text") or ""), str(embed.get("timestamp") or "")]
    footer_text = " \u2022 ".join(each for each in footer if each)
    if footer_text:
        parts.append(f'<div class="footer">{_lines(footer_text)}</div>')
    bar = f'<svg class="bar" aria-hidden="true"><rect width="100%" height="100%" fill="{fill}"/></svg>'
    return f'<div class="embed">{bar}<div class="inside">{"".join(parts)}</div></div>'


def _embed_part(kind: str, text: Any) -> str:
    return f'<div class="{kind}">{marked_up(str(text))}</div>' if text else ""


def _field(field: dict[str, Any]) -> str:
    inline = ' class="inline"' if field.get("inline") else ""
    return f"<div{inline}><b>{marked_up(str(field['name']))}</b><p>{marked_up(str(field['value']))}</p></div>"


# -- Telegram --------------------------------------------------------------------------------------------------


def _telegram_message(message: TelegramMessage) -> str:
    edited = f'<span class="edited">edited {message.edits}x</span> ' if message.edits else ""
    side = "user" if message.by_user else "bot"
    return (
        f'<article id="telegram-{message.id}" data-version="{message.edits}" class="{side}">'
        f'<p class="text">{escape(message.text)}</p>'
        f'<footer><span class="where">chat {escape(message.chat_id)}</span> '
        f"{edited}{_time(message.created_ms)}</footer></article>"
    )


# -- mail ------------------------------------------------------------------------------------------------------


def _mail(mail: Mail) -> str:
    heads = (("From", mail.header("From")), ("To", mail.header("To")))
    envelope = f"{mail.sender} \u2192 {', '.join(mail.recipients)}"
    listed = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in (*heads, ("Envelope", envelope)))
    headers = "\n".join(f"{name}: {mail.header(name)}" for name in dict.fromkeys(mail.message.keys()))
    parts = [f"<details><summary>All headers</summary><pre>{escape(headers)}</pre></details>"]
    html, text = mail.html, mail.text
    if html is not None:
        parts.append(f'<iframe sandbox title="HTML part" src="/mails/{mail.id}" loading="lazy"></iframe>')
    if text is not None:
        is_open = " open" if html is None else ""
        parts.append(f"<details{is_open}><summary>Text part</summary><pre>{escape(text)}</pre></details>")
    return (
        f'<article id="mail-{mail.id}" data-version="0"><header><h3>{escape(mail.subject) or "(no subject)"}</h3>'
        f"{_time(mail.arrived_ms)}</header><dl>{listed}</dl>{''.join(parts)}</article>"
    )
