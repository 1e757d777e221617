"""No value of a secret column survives in the copy of a damaged line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollsync.ingest.secrets import without_secrets

HEADER = ["School_id", "Student_id", "Last_name", "Password"]


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("S1,300,Par\x07ath,hunter2", "S1,300,Par\x07ath,"),
        ("S1,300,Parath,too,many,hunter2", "S1,300,Parath,,,"),
        ("S1,300,hunter2", "S1,300,"),
        ('S1,300,"Parath,hunter2\nS1,301,Okafor,hunter2', 'S1,300,"Parath,\nS1,301,Okafor,'),
    ],
    ids=["control character", "too many fields", "too few fields", "several lines"],
)
def test_a_malformed_line_is_whole_but_for_where_a_secret_could_stand(raw: str, kept: str) -> None:
    assert without_secrets(raw, HEADER, ["Password"]) == kept


def test_a_file_without_secret_columns_is_kept_whole() -> None:
    assert without_secrets("a,b,c,d,e", HEADER, []) == "a,b,c,d,e"


@given(data=st.data(), secret_at=st.integers(0, 5), added=st.integers(-5, 5))
def test_no_shift_of_fields_brings_a_secret_into_the_copy(data: st.DataObject, secret_at: int, added: int) -> None:
    header = [f"c{position}" for position in range(6)]
    header[secret_at] = "Password"
    fields = ["hunter2" if position == secret_at else f"v{position}" for position in range(6)]
    for _ in range(added):
        fields.insert(data.draw(st.integers(0, len(fields))), "extra")
    for _ in range(-added):
        fields.remove(data.draw(st.sampled_from([value for value in fields if value != "hunter2"])))
    assert "hunter2" not in without_secrets(",".join(fields), header, ["Password"])
