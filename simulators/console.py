"""A person at the console, as a program: logs in and uses the API as the console does."""

from __future__ import annotations

from typing import Any

import httpx

TIMEOUT_S = 15.0
PAGE = 500


CONFLICT = 409


class Person:
    """One logged-in person. Every method raises httpx.HTTPStatusError for a refusal."""

    def __init__(self, api: str, name: str, password: str) -> None:
        self._http = httpx.Client(base_url=api, timeout=TIMEOUT_S)
        answer = self._http.post("/api/login", json={"name": name, "password": password})
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def get(self, path: str, **query: str | int) -> Any:
        answer = self._http.get(path, params=query)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._http.post(path, json=body or {})
        answer.raise_for_status()
        return answer.json()

    def close(self) -> None:
        self._http.close()

    def speakers_online(self) -> tuple[int, int]:
        """How many speakers are online, of how many."""
        online = total = 0
        after: str | None = ""
        while after is not None:
            page = self.get("/api/speakers", after=after, size=PAGE)
            total += len(page["speakers"])
            online += sum(1 for s in page["speakers"] if s["online"])
            after = page["next"]
        return online, total

    def newest_incident(self, hazard: str, since_us: int) -> dict[str, Any] | None:
        """The newest exercise incident of a hazard opened since then."""
        found = [
            i
            for i in self.get("/api/incidents", use="exercise")["incidents"]
            if i["hazard"] == hazard and i["opened_us"] >= since_us
        ]
        return max(found, key=lambda i: str(i["id"])) if found else None

    def close_drills(self) -> None:
        """Stop what an earlier drill still says, which this one's speakers would finish first, and close what it left
        open, which this one's signals would join."""
        for broadcast in self.get("/api/broadcasts", use="exercise", state="on_air")["broadcasts"]:
            self._end(f"/api/broadcasts/{broadcast['id']}/stop")
        for incident in self.get("/api/incidents", use="exercise")["incidents"]:
            if incident["state"] != "closed":
                self._end(f"/api/incidents/{incident['id']}/close")

    def _end(self, path: str) -> None:
        """It may have ended by itself meanwhile."""
        answer = self._http.post(path, json={"why": "a new drill begins"})
        if answer.status_code != CONFLICT:
            answer.raise_for_status()

    def release(self, broadcast: str) -> None:
        """Read what the draft says and confirm exactly that."""
        shown = self.get(f"/api/broadcasts/{broadcast}")["broadcast"]
        self.post(f"/api/broadcasts/{broadcast}/release", _read(shown))

    def follow_up(self, broadcast: str, phase: str) -> str:
        """Release the prepared correction or all-clear; its id."""
        follower = self.get(f"/api/broadcasts/{broadcast}")[phase]
        path = "all-clear" if phase == "all_clear" else "correct"
        self.post(f"/api/broadcasts/{broadcast}/{path}", _read(follower))
        return str(follower["id"])


def _read(shown: dict[str, Any]) -> dict[str, Any]:
    return {"content": shown["content"], "sentence": shown["sentences"]["zh"]}
