"""Which time zones a district file may name, and what it costs to know one."""

from __future__ import annotations

from zoneinfo import available_timezones

import pytest

from enrollsync import settings


def test_the_usual_ones_are_known_without_looking_for_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_timezones", lambda: pytest.fail("looked for"))
    assert settings._known_timezone("America/New_York") == "America/New_York"


def test_all_that_the_machine_has_are_known() -> None:
    assert [name for name in available_timezones() if settings._known_timezone(name) != name] == []
    assert settings._listed_timezones()


def test_without_the_list_the_files_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "import_module", _missing)
    settings._listed_timezones.cache_clear()
    try:
        assert settings._known_timezone("UTC") == "UTC"
        with pytest.raises(ValueError, match="is no time zone"):
            settings._known_timezone("posixrules")
    finally:
        settings._listed_timezones.cache_clear()


def _missing(name: str) -> None:
    raise ModuleNotFoundError(name)
