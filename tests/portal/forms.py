"""Forms of the portal's pages, filled in as a browser would."""

from __future__ import annotations

import re

JSON = {"Accept": "application/json"}
ORIGIN = {"Origin": "http://testserver"}


def all_fields(page: str) -> list[dict[str, str]]:
    """What a browser would send of each form that is posted, if nothing was written into it."""
    forms = re.findall(r'<form method="post".*?</form>', page, re.DOTALL)
    return [_fields(form) for form in forms]


def fields(page: str) -> dict[str, str]:
    """The same of the only one."""
    (form,) = all_fields(page)
    return form


def _fields(form: str) -> dict[str, str]:
    inputs = [one for one in re.findall(r"<input([^>]*)>", form) if 'type="radio"' not in one]
    told = [dict(re.findall(r'(name|value)="([^"]*)"', one)) for one in inputs]
    return {one["name"]: one.get("value", "") for one in told}
