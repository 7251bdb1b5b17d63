"""The native routes of the account side: people, categories, usage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tocsin.core.clock import rfc3339
from tocsin.core.organisation import Category, Scope
from tocsin.dialects.native.account_body import account_in, category_changes_in, new_category_in
from tocsin.pipeline.account import Account, Accounts, Categories
from tocsin.web.auth import Principal
from tocsin.web.http import ErrorRenderer, Finish, Handler, Request, Response, Route, json_response

BODY_BYTES_MAX = 65_536

Guard = Callable[[Request, Scope], Principal]
"""Returns who asks; raises ``NotAuthenticated`` or, without the scope, ``NotPermitted``."""


class AccountRoutes:
    """``/account``, ``/categories`` and ``/usage`` below ``/api/v1``.

    Args:
        plan_changes: whether a key that may manage the organisation may also change its plan, as where whoever runs
            Tocsin is its only tenant; otherwise it takes the operator's key.
    """

    def __init__(
        self,
        *,
        accounts: Accounts,
        categories: Categories,
        guard: Guard,
        errors: ErrorRenderer,
        finish: Finish | None,
        plan_changes: bool = True,
    ) -> None:
        self._accounts = accounts
        self._categories = categories
        self._guard = guard
        self._errors = errors
        self._finish = finish
        self._plan_changes = plan_changes

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        table: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/account", self.show_account),
            ("PUT", "/account", self.replace_account),
            ("GET", "/categories", self.list_categories),
            ("POST", "/categories", self.create_category),
            ("POST", "/categories/quickstart", self.quick_start),
            ("PATCH", "/categories/{name}", self.change_category),
            ("DELETE", "/categories/{name}", self.delete_category),
            ("GET", "/usage", self.show_usage),
        )
        return tuple(
            Route(
                method=method,
                path="/api/v1" + path,
                handler=handler,
                errors=self._errors,
                name="native",
                body_limit_bytes=BODY_BYTES_MAX,
                finish=self._finish,
            )
            for method, path, handler in table
        )

    async def show_account(self, request: Request) -> Response:
        """Answer the account, its secrets masked."""
        principal = self._guard(request, Scope.READ)
        return json_response(200, _shown_account(self._accounts.get(principal.organisation_id)))

    async def replace_account(self, request: Request) -> Response:
        """Replace the whole account."""
        principal = self._guard(request, Scope.MANAGE)
        account = await self._accounts.replace(
            principal.organisation_id,
            account_in(request.body),
            may_change_plan=self._plan_changes or Scope.OPERATOR in principal.scopes,
        )
        return json_response(200, _shown_account(account))

    async def list_categories(self, request: Request) -> Response:
        """Answer the categories, oldest first."""
        principal = self._guard(request, Scope.READ)
        return json_response(200, _shown_categories(self._categories.all_of(principal.organisation_id)))

    async def create_category(self, request: Request) -> Response:
        """Store a category."""
        principal = self._guard(request, Scope.MANAGE)
        wanted = new_category_in(request.body)
        category = await self._categories.create(principal.organisation_id, **wanted)
        return json_response(201, _shown_category(category))

    async def quick_start(self, request: Request) -> Response:
        """Store the categories of the quick start set that are missing; answer these."""
        principal = self._guard(request, Scope.MANAGE)
        return json_response(200, _shown_categories(await self._categories.quick_start(principal.organisation_id)))

    async def change_category(self, request: Request) -> Response:
        """Change a category's name, colour or emoji."""
        principal = self._guard(request, Scope.MANAGE)
        changes = category_changes_in(request.body)
        category = await self._categories.change(principal.organisation_id, request.path["name"], changes)
        return json_response(200, _shown_category(category))

    async def delete_category(self, request: Request) -> Response:
        """Remove a category."""
        principal = self._guard(request, Scope.MANAGE)
        await self._categories.delete(principal.organisation_id, request.path["name"])
        return json_response(200, {"message": "Category deleted"})

    async def show_usage(self, request: Request) -> Response:
        """Answer what is used of the plan in this month."""
        principal = self._guard(request, Scope.READ)
        usage = await self._accounts.usage(principal.organisation_id)
        return json_response(
            200,
            {
                "categoriesUsed": usage.categories_used,
                "categoriesLimit": usage.categories_limit,
                "eventsUsed": usage.events_used,
                "eventsLimit": usage.events_limit,
                "resetDate": rfc3339(usage.reset_ms),
            },
        )


def _shown_category(category: Category) -> dict[str, Any]:
    return {"name": category.name, "color": f"#{category.color:06x}", "emoji": category.emoji}


def _shown_categories(categories: list[Category]) -> dict[str, Any]:
    return {"categories": [_shown_category(category) for category in categories]}


def _shown_account(account: Account) -> dict[str, Any]:
    """Return an account as it is also sent: of what is not configured, nothing."""
    return {
        "discord": _present(account.discord),
        "telegram": _present(account.telegram),
        "email": _present(account.email),
        "plan": account.plan,
    }


def _present(contact: msgspec.Struct) -> dict[str, Any]:
    return {field: value for field, value in msgspec.structs.asdict(contact).items() if value is not None}
