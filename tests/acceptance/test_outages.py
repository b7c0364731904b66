"""Database, broker and queue go away and come back: what was confirmed is kept, and the road goes on."""

from __future__ import annotations

import time
from pathlib import Path

from tests.acceptance.running import Running, communities, coverage, eventually, running, storm_on_air
from tests.postgres import started_postgres

AWAY_S = 4.0


def test_a_fire_during_a_database_outage_is_confirmed_and_on_air_when_it_is_back(tmp_path: Path) -> None:
    with started_postgres() as server:
        server.execute("CREATE DATABASE tocsin")
        with running(tmp_path, server.url("tocsin")) as town:
            server.stop()
            try:
                assert town.fire(1) == (True, "the panel's frame was confirmed")
                assert town.fire(2) == (True, "the panel's frame was confirmed")
            finally:
                server.start("-c fsync=off")
            _fire_plays(town)


def test_broker_and_queue_away_hold_nothing_up_for_good(tmp_path: Path) -> None:
    with running(tmp_path) as town:
        assert town.system.mosquitto.child is not None
        town.system.mosquitto.stop()
        assert town.fire(1)[0]
        assert town.fire(2)[0]
        time.sleep(AWAY_S)
        town.system.mosquitto.start(town.system.logins)
        _fire_plays(town)

        port = town.system.redis.port
        town.system.redis.stop()
        order = storm_on_air(town, communities(town)[0])
        eventually(lambda: _plays(town, order), "speakers speak the text themselves while no audio can be rendered")
        town.system.redis.port = port
        town.system.redis.start()
        duty = town.person("duty")

        def rendered() -> object:
            # A worker that is cut off while it acknowledges may end; it is started again like any process.
            town.system.look_after()
            return duty.get(f"/api/broadcasts/{order}")["broadcast"]["audio"]

        eventually(rendered, "the audio is rendered later")


def _fire_plays(town: Running) -> None:
    duty = town.person("duty")

    def plays() -> bool:
        incident = duty.newest_incident("fire", 0)
        return incident is not None and incident["alert"] != "" and _plays(town, incident["alert"])

    eventually(plays, "the fire is on air")


def _plays(town: Running, order: str) -> bool:
    counts = coverage(town, order)
    return counts["playing"] == counts["targeted"] > 0
