from __future__ import annotations

import pytest

from tests import builders
from tests.web.api import Api


@pytest.fixture
def api() -> Api:
    return Api(builders.town())
