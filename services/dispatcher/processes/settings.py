"""Settings of the processes, from the environment (`TOCSIN_…`). Secrets come from one file only its owner can read."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"


class Settings(BaseSettings):
    """Where things are. Each process reads what it needs."""

    model_config = SettingsConfigDict(env_prefix="TOCSIN_", extra="ignore")

    var: Path = Path("var")
    database_url: str = ""
    playbooks: Path = PLAYBOOKS
    rules: Path = PLAYBOOKS / "rules" / "rules.yaml"
    rules_shadow: Path | None = None
    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = 1883
    gateway_clients: int = 1
    web_host: str = "127.0.0.1"
    web_port: int = 8080
    web_secure_cookie: bool = True
    panel_host: str = "127.0.0.1"
    panel_port: int = 26875
    gateway_metrics_port: int = 9101
    worker_metrics_port: int = 9102
    canary_every_s: float = 30.0
    compare_every_s: float = 60.0
    poll_loopback: bool = False
    audio_base: str = "http://127.0.0.1:8080/audio"

    @property
    def database(self) -> str:
        """The database's URL; a SQLite file under `var` when none is set."""
        return self.database_url or f"sqlite:///{self.var.resolve() / 'tocsin.db'}"

    @property
    def keys(self) -> Path:
        return self.var / "keys"

    @property
    def feed_key(self) -> Path:
        """The key under which the secrets of signing feeds are sealed in the database."""
        return self.var / "feeds.key"

    @property
    def audio(self) -> Path:
        return self.var / "audio"

    @property
    def phrases(self) -> Path:
        return self.var / "phrases"

    @property
    def secrets(self) -> Path:
        return self.var / "secrets.json"

    def secret(self, name: str) -> str:
        """A secret by name. Raises SystemExit with the sentence when it is not there: nothing boots on a default."""
        try:
            found = json.loads(self.secrets.read_text("utf-8")).get(name, "")
        except (OSError, ValueError):
            found = ""
        if not found:
            raise SystemExit(f"The secret {name!r} is not in {self.secrets}; there is no default.")
        return str(found)
