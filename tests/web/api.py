"""The API over the small city, asked through ASGI as a client on the network would."""

from __future__ import annotations

import warnings
from typing import Any

with warnings.catch_warnings():
    # Starlette names a newer transport for its test client; the one at hand is the one locked here.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

from fastapi import APIRouter
from httpx import Response
from prometheus_client import CollectorRegistry

from services.dispatcher.adapters.signatures import verify_for
from services.dispatcher.domain.broadcasts import Broadcast
from services.dispatcher.engine.people import Role
from services.dispatcher.engine.ports import Page
from services.dispatcher.web.app import create_app
from services.dispatcher.web.deps import WebDeps, WebSettings
from tests import builders
from tests.builders import PASSWORD, Town

ROLES = {
    "duty": (Role.DUTY_OFFICER,),
    "second": (Role.DUTY_OFFICER,),
    "chief": (Role.APPROVER,),
    "admin": (Role.ADMINISTRATOR,),
    "street": (Role.OFFICE,),
    "other": (Role.OFFICE,),
    "centre": (Role.OFFICE,),
}
OFFICES = {
    "street": builders.STREET_OFFICE,
    "other": builders.OTHER_OFFICE,
    "centre": builders.DISTRICT_OFFICE,
}


class Api:
    """One app and the people who use it; each is logged in when first needed."""

    def __init__(self, town: Town, settings: WebSettings | None = None, audio: APIRouter | None = None) -> None:
        self.town = town
        self.deps = WebDeps(
            store=town.store,
            engine=town.engine,
            passwords=town.passwords,
            clock=town.clock,
            registry=CollectorRegistry(),
            verify=verify_for,
            open_secret=lambda feed_id, sealed: sealed.removeprefix(f"sealed for {feed_id}: "),
            audio=audio,
            settings=settings or WebSettings(secure_cookie=False, health_kept_s=0, room_kept_s=0),
        )
        self.app = create_app(self.deps)
        self.client = TestClient(self.app, raise_server_exceptions=False)
        self._tokens: dict[str, str] = {}

    def token(self, who: str) -> str:
        """The token of one of `ROLES`, enrolled and logged in at first use."""
        if who not in self._tokens:
            self.town.person(who, *ROLES[who], office=OFFICES.get(who, ""))
            answer = self.log_in(who)
            assert answer.status_code == 200, answer.text
            self._tokens[who] = answer.json()["token"]
            self.client.cookies.clear()
        return self._tokens[who]

    def log_in(self, name: str, password: str = PASSWORD) -> Response:
        answer: Response = self.client.post("/api/login", json={"name": name, "password": password})
        return answer

    def get(self, who: str, path: str, **query: Any) -> Response:
        answer: Response = self.client.get(path, params=query, headers=self._as(who))
        return answer

    def post(self, who: str, path: str, body: object = None) -> Response:
        answer: Response = self.client.post(path, json=body, headers=self._as(who))
        return answer

    def cap(self, raw: bytes, key: str = "feed-key-of-the-weather-bureau", feed: str = "weather") -> Response:
        headers = {"X-Tocsin-Key": key}
        answer: Response = self.client.post(f"/api/feeds/{feed}/cap", content=raw, headers=headers)
        return answer

    def enrol_feed(self, key: str = "feed-key-of-the-weather-bureau", **changes: Any) -> None:
        with self.town.store.write() as tx:
            tx.put(builders.feed(self.town.passwords.hash(key), **changes))

    def storm(self) -> dict[str, Any]:
        """A red storm for both streets; the page of its drafted alert."""
        return self.alert_of(self.town.signal(builders.storm_signal()))

    def fire(self) -> dict[str, Any]:
        """One detector in the mall, yellow; the page of its drafted alert."""
        return self.alert_of(self.town.signal(builders.fire_signal()))

    def alert_of(self, incident: str) -> dict[str, Any]:
        with self.town.store.read() as read:
            found = read.find(Broadcast, Page(limit=1), incident=incident, original="")
        return self.page(found[0].id)

    def page(self, broadcast: str) -> dict[str, Any]:
        answer = self.get("duty", f"/api/broadcasts/{broadcast}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def release(self, who: str, b: dict[str, Any], **changes: str) -> Response:
        """Release what the page showed, in Chinese unless `changes` say otherwise."""
        body = {"content": b["content"], "sentence": b["sentences"]["zh"], **changes}
        return self.post(who, f"/api/broadcasts/{b['id']}/release", body)

    def _as(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(who)}"}


def refusal(answer: Response) -> tuple[int, str]:
    """Status and code of a refusal, which must be whole: problem+json with a sentence in both languages."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["title"] and body["sentence_zh"]
    return answer.status_code, body["code"]
