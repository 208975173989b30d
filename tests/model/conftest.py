"""One town for all examples of a test; its clock is the product's clock meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model.house import Town
from tests.support.databases import Template


@pytest.fixture
def town(tmp_path: Path, database_template: Template) -> Iterator[Town]:
    with pytest.MonkeyPatch.context() as patch:
        town = Town(tmp_path, database_template, patch)
        yield town
        town.close()
