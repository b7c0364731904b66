"""Real speakers that refuse what a real gateway gives out: health is red, and one red incident says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from devices.protocols.speaker_link import KEYS_TOPIC
from services.dispatcher.domain.refused_documents import DOCUMENTS_REFUSED
from services.dispatcher.processes import up
from tests.acceptance.running import Running, eventually, running

WITHIN_S = 90.0
ANOTHER_ROOT = "A" * 43


def test_a_city_whose_speakers_have_another_root_is_not_well(tmp_path: Path) -> None:
    with running(tmp_path, before_speakers=_with_another_root) as town:
        speakers = len(town.system.city.speakers)
        eventually(lambda: not _part(town)["well"], "health says that speakers refuse", WITHIN_S)
        part = _part(town)
        assert f"{speakers} of {speakers} speakers refuse what is on {KEYS_TOPIC}" in part["what"]
        assert "hand-held loudspeaker" in part["still_works"]
        eventually(lambda: _alarms(town), "a red incident says so", WITHIN_S)
        (alarm,) = _alarms(town)
        assert (alarm["level"], alarm["use"], alarm["playbook"]) == (1, "actual", "")
        story = town.person("duty").get(f"/api/incidents/{alarm['id']}")
        assert (story["broadcasts"], len(story["tasks"])) == ([], 1)
        ((lines,),) = town.rows("SELECT count(*) FROM log WHERE kind = 'speaker.refuses'")
        assert lines == speakers


def _with_another_root(system: up.System) -> None:
    """The speakers were installed with the root of somebody else."""
    for file in sorted((system.settings.var / "fleet").glob("*.json")):
        said = json.loads(file.read_text("utf-8"))
        file.write_text(json.dumps(said | {"root_key": ANOTHER_ROOT}), "utf-8")


def _part(town: Running) -> dict[str, Any]:
    parts = town.person("duty").get("/api/health")["parts"]
    found: dict[str, Any] = next(part for part in parts if part["part"] == "refused_actual")
    return found


def _alarms(town: Running) -> list[dict[str, Any]]:
    listed = town.person("duty").get("/api/incidents")["incidents"]
    return [incident for incident in listed if incident["hazard"] == DOCUMENTS_REFUSED]
