"""The worker: Celery tasks that may run late or twice; each writes its result through the engine.

The parent process takes tasks off the queue; children do them, so that one which hangs can be ended. All but one of
them may be out polling: however slow the servers of others are, somebody is there to speak. Nothing that must not be
shared over a fork, a database connection above all, is made before the fork.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import typer
from celery.signals import worker_process_init, worker_ready

from devices.protocols.speaker_link import Phase

from ..adapters import audio
from ..adapters.blobs import Blobs
from ..adapters.celery_app import make_celery, register_tasks
from ..adapters.ffmpeg import Ffmpeg
from ..adapters.http_poll import HttpPoll
from ..adapters.speech.espeak import Espeak
from ..adapters.speech.phrases import Phrases, make_phrases
from ..domain.signals import Use
from ..engine.clock import GuardedClock
from ..engine.engine import Engine
from ..engine.events import AudioRendered, CanaryAnswered
from ..engine.rows import Asset, Wording
from .poller import Poller, feed_of, one_of
from .settings import Settings
from .wiring import make_engine, make_store, start_logging

if TYPE_CHECKING:
    from ..adapters.worker_metrics import WorkerMetrics

log = structlog.get_logger(__name__)

TASKS_AT_ONCE = 3
POLLS_AT_ONCE = TASKS_AT_ONCE - 1
SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"

app = typer.Typer(
    add_completion=False, help="The worker: speech, audio and polled feeds. 任务进程：语音合成、音频与信源轮询。"
)


class WordingRenderer:
    """Turns wordings into audio in the blob store and tells the engine."""

    def __init__(self, settings: Settings, engine: Engine, metrics: WorkerMetrics, clock: GuardedClock) -> None:
        self._engine = engine
        self._metrics = metrics
        self._clock = clock
        self._blobs = Blobs(settings.audio)
        self._speech = Espeak()
        self._phrases = Phrases(settings.phrases)
        self._ffmpeg = Ffmpeg()

    def render(self, payload: dict[str, Any]) -> None:
        """Render one wording."""
        wording = Wording(**payload)
        with self._metrics.render_s.time():
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
        self._metrics.rendered.labels(str(sound.spoken).lower()).inc()

    def canary(self, payload: dict[str, Any]) -> None:
        """Come back."""
        self._engine.handle([CanaryAnswered(int(payload["asked_us"]))])
        self._metrics.canaries.inc()
        self._metrics.jump_s.set(self._clock.jump_us / 1e6)


class InChildren:
    """The renderer and the poller of whichever child runs; each makes its own after the fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._mine: WordingRenderer | None = None
        self._poller: Poller | None = None

    def begin(self, **_: object) -> None:
        """Called by Celery in every child, before its first task."""
        from ..adapters.worker_metrics import WorkerMetrics

        store, metrics = make_store(self._settings), WorkerMetrics()
        engine = make_engine(self._settings, store)
        self._mine = WordingRenderer(self._settings, engine, metrics, store.clock)
        http = HttpPoll(loopback=self._settings.poll_loopback)
        self._poller = Poller(store, engine, http, lambda result: metrics.polls.labels(result).inc())

    def render(self, payload: dict[str, Any]) -> None:
        """Render one wording."""
        self._here.render(payload)

    def canary(self, payload: dict[str, Any]) -> None:
        """Come back."""
        self._here.canary(payload)

    def poll(self, payload: dict[str, Any]) -> None:
        """Poll one feed. With every place taken this errand is dropped: the relay sends another soon."""
        assert self._poller is not None, "a child begins before its first task"
        with one_of(self._settings.var / "polling", POLLS_AT_ONCE) as place:
            if place:
                self._poller.poll(feed_of(payload))

    @property
    def _here(self) -> WordingRenderer:
        assert self._mine is not None, "a child begins before its first task"
        return self._mine


def share_metrics(folder: Path) -> None:
    """Have every process of this worker keep its numbers in `folder`, which begins empty: the files are named by
    process number, and an earlier run's would be taken for ours. `PROMETHEUS_MULTIPROC_DIR` chooses another folder."""
    assert "prometheus_client" not in sys.modules, "it has looked at the environment already"
    chosen = Path(os.environ.setdefault(SHARED_METRICS, str(folder.resolve())))
    chosen.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in chosen.glob("*.db"):
        old.unlink()


@app.callback(invoke_without_command=True)
def main() -> None:
    """Run the worker until it is told to stop."""
    start_logging("worker")
    settings = Settings()
    share_metrics(settings.var / "metrics" / "worker")
    from ..adapters.worker_metrics import serve

    made = make_phrases(settings.phrases, Espeak())
    for problem in made.problems:
        log.warning("a phrase could not be made", code=problem.code, why=problem.message)
    celery = make_celery(settings.secret("redis_url"))
    children = InChildren(settings)
    register_tasks(celery, render=children.render, canary=children.canary, poll=children.poll)

    def ready(**_: object) -> None:
        serve(settings.worker_metrics_port, settings.web_host)
        log.info("worker started", tasks_at_once=TASKS_AT_ONCE)

    worker_process_init.connect(children.begin, weak=False)
    # After the fork, so that no child holds the port or is forked beside a running thread at the start.
    worker_ready.connect(ready, weak=False)
    celery.Worker(pool="prefork", concurrency=TASKS_AT_ONCE, loglevel="WARNING", quiet=True).start()
