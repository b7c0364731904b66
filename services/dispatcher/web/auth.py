"""Who is asking: logins by token, in a header or in the console's cookie, and the roles a page needs.

The cookie is HttpOnly and SameSite=Strict; a change asked for by cookie needs a header that no other site can send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from ..domain.refusals import NotAllowed
from ..engine import people
from ..engine.people import NotLoggedIn, Role, WrongPassword
from ..engine.rows import Person
from .deps import WebDeps
from .problems import CsrfHeaderMissing
from .schemas import LoginRequest, LoginView, MeView
from .tries import Tries

COOKIE = "tocsin_token"
CSRF_HEADER = "X-Tocsin-Console"
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
WINDOW_US = 60_000_000
TRIES_PER_NAME_MAX = 5
TRIES_PER_ADDRESS_MAX = 60
DESK = (Role.DUTY_OFFICER, Role.APPROVER)

_bearer = HTTPBearer(auto_error=False)
_cookie = APIKeyCookie(name=COOKIE, auto_error=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """The person behind a request and when their login ends, µs UTC."""

    person: Person
    token: str
    expires_us: int

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(self.person.roles)

    def has(self, *roles: Role) -> bool:
        """Whether the person has any of these roles."""
        return not self.roles.isdisjoint(roles)


class Gate:
    """Finds the caller of a request. Its methods are dependencies."""

    def __init__(self, deps: WebDeps) -> None:
        self._deps = deps

    def anyone(
        self,
        request: Request,
        bearer: HTTPAuthorizationCredentials | None = Depends(_bearer),
        cookie: str | None = Depends(_cookie),
    ) -> Caller:
        """Anybody with a login. Raises NotLoggedIn or CsrfHeaderMissing."""
        token = bearer.credentials if bearer is not None else cookie or ""
        if bearer is None and request.method not in READING_METHODS and not request.headers.get(CSRF_HEADER):
            if not token:
                raise NotLoggedIn
            raise CsrfHeaderMissing(CSRF_HEADER)
        with self._deps.store.read() as read:
            person, login = people.who(read, token)
        return Caller(person, token, login.expires_us)

    def needs(self, *roles: Role) -> Callable[[Caller], Awaitable[Caller]]:
        """A dependency for somebody with any of these roles; it raises NotAllowed for others."""

        # Asynchronous only because it waits for nothing: a plain function would be sent through a worker thread.
        async def allowed(caller: Caller = Depends(self.anyone)) -> Caller:
            if not caller.has(*roles):
                raise NotAllowed(" / ".join(roles))
            return caller

        return allowed


def address_of(request: Request) -> str:
    """Where the request comes from, as far as the server can tell."""
    return request.client.host if request.client is not None else ""


def login_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """Log in, log out, and who am I."""
    router = APIRouter(tags=["people"])
    by_name = Tries(deps.clock.mono_us, TRIES_PER_NAME_MAX, WINDOW_US)
    by_address = Tries(deps.clock.mono_us, TRIES_PER_ADDRESS_MAX, WINDOW_US)
    lifetime_s = deps.settings.token_lifetime_s

    @router.post("/api/login")
    def login(wanted: LoginRequest, request: Request, response: Response) -> LoginView:
        """A token for name and password: in the answer, and as a cookie that scripts can't read."""
        address = address_of(request)
        # The pair, not the name alone: nobody may lock a duty officer out from somewhere else.
        pair = (wanted.name, address)
        by_address.count((address,))
        by_name.count(pair)
        try:
            done = people.log_in(
                deps.store,
                deps.passwords,
                name=wanted.name,
                password=wanted.password,
                lifetime_us=lifetime_s * 1_000_000,
            )
        except WrongPassword:
            deps.counts.logins.labels("wrong").inc()
            raise
        by_name.forget(pair)
        deps.counts.logins.labels("right").inc()
        _set_cookie(response, done.token, lifetime_s, secure=deps.settings.secure_cookie)
        p = done.person
        return LoginView(
            token=done.token, person=p.id, name=p.name, roles=list(p.roles), office=p.office, expires=done.expires_us
        )

    @router.post("/api/logout", status_code=204)
    def logout(response: Response, caller: Caller = Depends(gate.anyone)) -> None:
        """End this login, and this login alone."""
        people.log_out(deps.store, caller.token)
        _set_cookie(response, "", 0, secure=deps.settings.secure_cookie)

    @router.get("/api/me")
    def me(caller: Caller = Depends(gate.anyone)) -> MeView:
        """The person behind the token."""
        p = caller.person
        return MeView(person=p.id, name=p.name, roles=list(p.roles), office=p.office, expires=caller.expires_us)

    return router


def _set_cookie(response: Response, token: str, max_age_s: int, *, secure: bool) -> None:
    response.set_cookie(COOKIE, token, max_age=max_age_s, path="/", secure=secure, httponly=True, samesite="strict")
