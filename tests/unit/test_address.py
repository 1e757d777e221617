"""The URL of a roster database: which ones are read, and what of them may be shown."""

from __future__ import annotations

import pytest

from enrollsync.settings.address import read_address
from secret_urls import MALFORMED, SECRET, WITH_A_PASSWORD


@pytest.mark.parametrize(("url", "shown"), [
    ("sqlite:///data/demo.db", None),
    ("sqlite:////srv/50% of # schools/demo.db", None),
    ("postgresql://roster@db.example/roster", "postgresql://db.example/roster"),
    ("postgresql+psycopg://roster@db.example:5433/roster_2", "postgresql://db.example:5433/roster_2"),
    ("postgresql://me:hunter2@[::1]:5433/roster", "postgresql://[::1]:5433/roster"),
    ("postgresql://one,two/roster?target_session_attrs=read-write", "postgresql://one,two/roster"),
    ("postgresql:///roster", "postgresql://localhost/roster"),
    ("postgresql://postgres:@/roster?host=/tmp/a-b_c.d", "postgresql:///tmp/a-b_c.d/roster"),
])  # fmt: skip
def test_of_an_address_driver_host_and_database_are_shown(url: str, shown: str | None) -> None:
    assert str(read_address(url)) == (shown or url)


def test_user_password_and_options_are_read_as_they_are_meant() -> None:
    address = read_address("postgresql://m%40e:p%40:s+%C3%A9@h/d?options=-c%20a%3Db&sslpassword=x%2Fy")
    assert (address.user, address.password) == ("m@e", "p@:s+é")
    assert address.options == {"options": "-c a=b", "sslpassword": "x/y"}


@pytest.mark.parametrize("url", MALFORMED)
def test_an_address_that_is_only_nearly_right_is_refused_without_any_of_it(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"write sqlite:///folder/file\.db or postgresql://user@host/database"
    ) as wrong:
        read_address(url)
    assert SECRET not in str(wrong.value)


@pytest.mark.parametrize("url", WITH_A_PASSWORD)
def test_a_password_is_neither_in_the_address_as_shown_nor_in_its_representation(url: str) -> None:
    address = read_address(url)
    assert SECRET not in f"{address} {address!r}"
    assert any(SECRET in secret for secret in address.secrets)


def test_a_long_address_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_address("postgresql://" + "a:" * 100_000)
