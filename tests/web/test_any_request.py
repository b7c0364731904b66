"""Requests made from the API's own description, right and wrong, by schemathesis: none breaks anything.

The cases are the same in every run. Ids that exist stand in for made-up ones half of the time, so that what lies behind
an id is asked as well. Answers are held to what the description says of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import APIRouter
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.dispatcher.adapters.blobs import Blobs
from services.dispatcher.engine.people import Role
from services.dispatcher.web.audio import audio_router
from services.dispatcher.web.deps import WebSettings
from tests import builders
from tests.builders import PASSWORD, STREET_OFFICE
from tests.web.api import Api

EXAMPLES = 6
KEY = "feed-key-of-the-weather-bureau"
FORMATS = ("cap", "alert12379", "ebd", "atom", "plain", "table", "alertmanager")
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
BODIES = (
    builders.cap_alert(),
    builders.cap_alert(headline="暴雨蓝色预警"),
    b'[{"id":"1","kind":"alert","hazard":"rainstorm","headline":"x"}]',
    b'{"alerts":[{"labels":{"alertname":"x"}}]}',
    "编号,灾种,级别\n1,暴雨,红\n".encode(),
    b"<feed xmlns='http://www.w3.org/2005/Atom'/>",
    b"",
)


class World:
    """A town in which something is going on, somebody with every role, and a feed of every format."""

    def __init__(self, audio: APIRouter) -> None:
        self.api = Api(builders.town(), WebSettings(secure_cookie=False, token_lifetime_s=10**7), audio)
        self.schema = schemathesis.openapi.from_dict(self.api.app.openapi())
        self.api.town.person("all", *Role, office=STREET_OFFICE)
        for format in FORMATS:
            self.api.enrol_feed(KEY, id=format, format=format)
        with self.api.town.store.write() as tx:
            tx.put(builders.panel(), builders.sensor())
        page = self.api.storm()
        self.ids = {
            "/api/incidents": page["broadcast"]["incident"],
            "/api/broadcasts": page["broadcast"]["id"],
            "/api/speakers": "square-1",
            "/api/panels": "mall-panel",
            "/api/sensors": "smoke-1",
            "/api/tasks": self.api.get("duty", "/api/tasks").json()["tasks"][0]["id"],
        }
        self._token = self._log_in()

    def _log_in(self) -> str:
        token: str = self.api.log_in("all", PASSWORD).json()["token"]
        self.api.client.cookies.clear()
        return token

    def known(self, operation: APIOperation[Any, Any, Any, Any]) -> dict[str, Any]:
        """Ids of things that are there, by the names they have in the operation's path."""
        id = next((id for start, id in self.ids.items() if operation.path.startswith(start)), "none")
        named = {"id": id, "feed_id": "cap", "format": "cap"}
        return {name: value for name, value in named.items() if f"{{{name}}}" in operation.path}

    def send(self, case: Case[Any]) -> Any:
        """Ask as a feed on the feeds' addresses and as the officer elsewhere."""
        request = case.as_transport_kwargs(base_url="http://testserver")
        if "data" in request:
            request["content"] = request.pop("data")
        headers = {"Authorization": f"Bearer {self._token}", **dict(request.pop("headers", {}))}
        if "/api/feeds/" in request["url"]:
            headers = {**headers, "X-Tocsin-Key": KEY}
            headers.pop("Authorization")
        if case.path == "/api/logout":
            headers["Authorization"] = f"Bearer {self._log_in()}"
        # The windows of limits and of wrong tries pass.
        self.api.town.clock.advance(10)
        return self.api.client.request(**{**request, "headers": headers, "cookies": None})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(audio_router(Blobs(tmp_path_factory.mktemp("audio"))))
    with made.api.client:
        yield made


@given(st.data())
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    # Where a path takes any text, next to nothing of it can be wrong, and schemathesis looks for it all the same.
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
def ask(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, world: World, data: st.DataObject) -> None:
    """One request of the operation, and what the description says of the answer."""
    known = world.known(operation) if data.draw(st.booleans()) else None
    case = data.draw(operation.as_strategy(mode, path_parameters=known or None))
    case.validate_response(world.send(case), checks=CHECKS)


def test_no_request_breaks_anything(world: World) -> None:
    operations = [result.ok() for result in world.schema.get_all_operations() if isinstance(result, Ok)]
    for operation in operations:
        for mode in GenerationMode:
            try:
                ask(operation, mode, world)
            except Unsatisfiable:
                # There is nothing about this request that could be wrong.
                continue
            except BaseException as broken:
                broken.add_note(f"{operation.label}, {mode}")
                raise
    assert len(operations) > 30


@given(st.sampled_from(FORMATS), st.sampled_from(BODIES), st.binary(max_size=64), st.integers(0, 4_000))
@settings(max_examples=200, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
def damage(world: World, format: str, body: bytes, noise: bytes, at: int) -> None:
    at %= len(body) + 1
    raw = body[:at] + noise + body[at + len(noise) :]
    world.api.town.clock.advance(10)
    answer = world.api.client.post(f"/api/feeds/{format}/{format}", content=raw, headers={"X-Tocsin-Key": KEY})
    assert answer.status_code in (202, 409, 422), answer.text


def test_no_body_breaks_the_intake(world: World) -> None:
    damage(world)
