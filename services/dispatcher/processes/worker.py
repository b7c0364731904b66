"""The worker: Celery tasks that may run late or twice; each writes its result through the engine."""

from __future__ import annotations

from typing import Any

import structlog
import typer
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from devices.protocols.speaker_link import Phase

from ..adapters import audio
from ..adapters.blobs import Blobs
from ..adapters.celery_app import make_celery, register_tasks
from ..adapters.ffmpeg import Ffmpeg
from ..adapters.speech.espeak import Espeak
from ..adapters.speech.phrases import Phrases, make_phrases
from ..domain.signals import Use
from ..engine.engine import Engine
from ..engine.events import AudioRendered, CanaryAnswered
from ..engine.ports import Asset, Wording
from .settings import Settings
from .wiring import make_engine, make_store, start_logging

log = structlog.get_logger(__name__)

app = typer.Typer(help="The worker: speech, audio, notifications. 任务进程：语音合成、音频、通知。")


class Renderer:
    """Turns wordings into audio in the blob store and tells the engine."""

    def __init__(self, settings: Settings, engine: Engine, registry: CollectorRegistry) -> None:
        self._engine = engine
        self._blobs = Blobs(settings.audio)
        self._speech = Espeak()
        self._phrases = Phrases(settings.phrases)
        self._ffmpeg = Ffmpeg()
        self._rendered = Counter("tocsin_audio_rendered", "Wordings rendered.", ["spoken"], registry=registry)
        self._render_s = Histogram("tocsin_audio_render_seconds", "Time to render a wording.", registry=registry)
        self._alive = Counter("tocsin_worker_canaries", "Canary tasks answered.", registry=registry)

    def render(self, payload: dict[str, Any]) -> None:
        """Render one wording."""
        wording = Wording(**payload)
        with self._render_s.time():
            sound = audio.render(
                wording.text,
                wording.lang,
                level=wording.level,
                phase=Phase(wording.phase),
                use=Use(wording.use),
                event_code=wording.event_code,
                speech=self._speech,
                phrases=self._phrases,
                ffmpeg=self._ffmpeg,
            )
        for problem in sound.problems:
            log.warning("audio has a problem", wording=wording.id, code=problem.code, why=problem.message)
        sha256 = self._blobs.put(sound.data)
        asset = Asset(wording.id, wording.lang, sound.codec, sha256, sound.ms, len(sound.data), sound.spoken)
        self._engine.handle([AudioRendered(asset)])
        self._rendered.labels(str(sound.spoken).lower()).inc()

    def canary(self, payload: dict[str, Any]) -> None:
        """Come back."""
        self._engine.handle([CanaryAnswered(int(payload["asked_us"]))])
        self._alive.inc()


@app.callback(invoke_without_command=True)
def main() -> None:
    """Run the worker until it is told to stop."""
    start_logging("worker")
    settings = Settings()
    registry = CollectorRegistry()
    made = make_phrases(settings.phrases, Espeak())
    for problem in made.problems:
        log.warning("a phrase could not be made", code=problem.code, why=problem.message)
    celery = make_celery(settings.secret("redis_url"))
    renderer = Renderer(settings, make_engine(settings, make_store(settings)), registry)
    register_tasks(celery, render=renderer.render, canary=renderer.canary, notify=_no_channel)
    start_http_server(settings.worker_metrics_port, settings.web_host, registry)
    celery.Worker(pool="threads", concurrency=2, loglevel="WARNING", quiet=True).start()


def _no_channel(payload: dict[str, Any]) -> None:
    log.warning("a notification was asked for, but no channel to people is configured", payload=payload)
