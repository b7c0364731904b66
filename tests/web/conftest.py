from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import builders
from tests.web.api import Api


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api(builders.town())
    with api.client:
        yield api
