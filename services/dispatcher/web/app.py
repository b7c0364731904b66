"""The API as one FastAPI app. It knows no adapter: everything it works with is passed in."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from .auth import Gate, login_router
from .bodies import BoundedBodies
from .broadcasts import acts_router, broadcasts_router
from .clock import clock_router
from .deps import WebDeps
from .feeds import feeds_router
from .health import health_router
from .incidents import incidents_router
from .log import city_router, log_router
from .panels import panels_router
from .problems import MEDIA_TYPE, ProblemView, add_problem_handlers
from .sensors import sensors_router
from .silences import silences_router
from .speakers import speakers_router
from .taking import Taking
from .tasks import tasks_router
from .uploads import uploads_router

__all__ = ["WebDeps", "create_app"]

_PROBLEM = {
    "description": "A refusal, as problem+json.",
    "content": {MEDIA_TYPE: {"schema": ProblemView.model_json_schema()}},
}


def create_app(deps: WebDeps, more: Sequence[APIRouter] = ()) -> FastAPI:
    """The whole API over `deps`; `more` are routers of parts that other processes add."""
    app = FastAPI(
        title="Tocsin 警钟",
        description="Emergency broadcast and public-safety alerting: signals, tasks, releases, coverage.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
        generate_unique_id_function=_operation,
    )
    gate = Gate(deps)
    taking = Taking(deps)
    routers = [
        login_router(deps, gate),
        feeds_router(deps, taking),
        uploads_router(deps, gate, taking),
        incidents_router(deps, gate),
        silences_router(deps, gate),
        tasks_router(deps, gate),
        broadcasts_router(deps, gate),
        acts_router(deps, gate),
        speakers_router(deps, gate),
        panels_router(deps, gate),
        sensors_router(deps, gate),
        log_router(deps, gate),
        clock_router(deps, gate),
        city_router(deps, gate),
        health_router(deps),
        *([deps.audio] if deps.audio is not None else []),
        *more,
    ]
    for router in routers:
        app.include_router(router)
    add_problem_handlers(app)
    app.add_middleware(BoundedBodies, count=lambda status: deps.counts.requests.labels(f"{status // 100}xx").inc())
    return app


def _operation(route: APIRoute) -> str:
    return route.name
