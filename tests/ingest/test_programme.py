"""One programme, one database."""

from __future__ import annotations

import pytest

from ingest.errors import ProgrammeError
from ingest.programme import hold_programme
from store.database import connect
from store.programme import programme_of


def test_a_database_that_was_given_to_a_programme_takes_no_other(database_url: str) -> None:
    with connect(database_url) as conn:
        hold_programme(conn, None)
        assert programme_of(conn) is None
        hold_programme(conn, "north")
    with connect(database_url) as conn:
        hold_programme(conn, "north")
        with pytest.raises(ProgrammeError, match="programme 'north', 'south' was named"):
            hold_programme(conn, "south")
        with pytest.raises(ProgrammeError, match="programme 'north', none was named"):
            hold_programme(conn, None)
        assert programme_of(conn) == "north"
