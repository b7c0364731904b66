"""The web process: the API of the console, feed intake over HTTP, audio by hash."""

from __future__ import annotations

import typer
import uvicorn
from prometheus_client import CollectorRegistry

from ..adapters.blobs import Blobs
from ..adapters.feed_secrets import FeedSecrets
from ..adapters.metrics import jump_gauge, shadow_counter
from ..adapters.passwords import Argon2Passwords
from ..adapters.signatures import verify_for
from ..web.app import create_app
from ..web.audio import audio_router
from ..web.deps import WebDeps, WebSettings
from .bounded_http import BoundedConnection
from .settings import Settings
from .wiring import make_engine, make_store, start_logging

app = typer.Typer(add_completion=False, help="Console API, feed intake, audio. 控制台接口、信源接入、音频。")

REQUEST_STALL_S = 10


@app.callback(invoke_without_command=True)
def main() -> None:
    """Run the web process until it is told to stop."""
    start_logging("web")
    settings = Settings()
    store, registry = make_store(settings), CollectorRegistry()
    jump_gauge(registry, store.clock)
    deps = WebDeps(
        store=store,
        engine=make_engine(settings, store, differs=shadow_counter(registry)),
        passwords=Argon2Passwords(),
        clock=store.clock,
        registry=registry,
        verify=verify_for,
        open_secret=FeedSecrets(settings.feed_key).opened,
        audio=audio_router(Blobs(settings.audio)),
        settings=WebSettings(secure_cookie=settings.web_secure_cookie),
    )
    uvicorn.run(
        create_app(deps),
        host=settings.web_host,
        port=settings.web_port,
        http=BoundedConnection,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=REQUEST_STALL_S,
        limit_concurrency=1_000,
        server_header=False,
    )
