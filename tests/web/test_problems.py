from __future__ import annotations

import re
from typing import Any

import pytest

from services.dispatcher.domain import refusals
from services.dispatcher.domain.refusals import Refused
from services.dispatcher.engine import people
from services.dispatcher.web import problems
from services.dispatcher.web.bodies import BODY_BYTES_MAX
from services.dispatcher.web.tries import Tries
from tests.builders import StoppedClock
from tests.web.api import Api, refusal


def refused_classes() -> list[type[Refused]]:
    modules = (refusals, people, problems)
    found = {c for module in modules for c in vars(module).values() if isinstance(c, type) and issubclass(c, Refused)}
    return sorted(found, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", refused_classes())
def test_every_refusal_has_a_status_and_a_sentence_in_both_languages(kind: type[Refused]) -> None:
    status, sentence_zh = problems.ANSWERS[kind]
    # What is lacking here is not the asker's fault.
    assert 400 <= status < 500 or (status, kind) == (503, problems.SecretUnavailable)
    assert re.search(r"[\u4e00-\u9fff].*。$", sentence_zh)
    assert re.fullmatch(r"[A-Z].*[.]", (kind.__doc__ or "").split("\n")[0])


def test_an_unknown_address_and_a_wrong_method_are_problems_too(api: Api) -> None:
    assert refusal(api.client.get("/api/nothing")) == (404, "not_found")
    wrong = api.client.post("/api/me")
    assert refusal(wrong) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET"


def test_a_body_that_is_too_big_is_refused_on_every_address(api: Api) -> None:
    answer = api.client.post("/api/login", content=b"x" * (BODY_BYTES_MAX + 1))
    assert refusal(answer) == (413, "body_too_big")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"name": "\\ud800", "password": "x"}', b"1e999"])
def test_a_body_that_is_no_request_is_malformed(api: Api, raw: bytes) -> None:
    answer = api.client.post("/api/login", content=raw, headers={"Content-Type": "application/json"})
    assert refusal(answer) == (422, "malformed")


def test_a_body_that_is_no_text_is_malformed(api: Api) -> None:
    answer = api.client.post("/api/login", content=b"\xff", headers={"Content-Type": "application/json"})
    assert refusal(answer) == (400, "malformed")


def test_something_broken_says_so_without_details(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(api.town.engine.__class__, "handle", lambda self, events: broken(events))
    answer = api.post("duty", "/api/incidents/x/close", {"why": "误报"})
    assert refusal(answer) == (500, "broken")
    assert "a secret of ours" not in answer.text


def test_the_openapi_document_describes_every_answer(api: Api) -> None:
    document: dict[str, Any] = api.client.get("/api/openapi.json").json()
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len({operation["operationId"] for _, _, operation in operations}) == len(operations)
    for path, method, operation in operations:
        good = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        if path not in ("/api/logout",) and not path.startswith(("/audio/", "/api/feeds/template.")):
            assert good["content"]["application/json"]["schema"], (method, path)
        assert set(operation["responses"]["4XX"]["content"]) == {"application/problem+json"}, (method, path)


def test_tries_are_counted_in_bounded_memory() -> None:
    clock = StoppedClock()
    tries = Tries(clock.mono_us, tries_max=1, window_us=60_000_000, keys_max=2)
    for name in ("a", "b", "c"):
        tries.count((name,))
    tries.count(("a",))
    with pytest.raises(problems.TooManyTries):
        tries.count(("c",))
