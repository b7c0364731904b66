"""Every answer that is a no: problem+json (RFC 9457) with a `code`, one clear sentence, and the same in Chinese."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from ..domain import refusals, silences
from ..domain.refusals import Refused
from ..engine import clock, people
from ..engine.ports import StoreUnavailable
from ..engine.sources import panels

MEDIA_TYPE = "application/problem+json"
RETRY_STORE_S = 2
ERRORS_SHOWN_MAX = 20
CHARS_SHOWN_MAX = 200

log = logging.getLogger(__name__)


class TooManyTries(Refused):
    """There were too many wrong tries; wait a moment."""

    code = "too_many_tries"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"{retry_after_s} s")
        self.retry_after_s = retry_after_s


class CsrfHeaderMissing(Refused):
    """A change asked for by cookie needs the header that only our own console sends."""

    code = "csrf_header_missing"


class FeedKeyWrong(Refused):
    """This key is not the key of this feed."""

    code = "feed_key_wrong"


class FeedDisabled(Refused):
    """This feed is switched off."""

    code = "feed_disabled"


class FeedFormatDiffers(Refused):
    """This feed is enrolled for another format."""

    code = "feed_format_differs"


class RateLimited(Refused):
    """This feed has sent more than it is allowed in a minute; wait and send again."""

    code = "rate_limited"

    def __init__(self, retry_after_s: int, detail: str = "") -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class RequestSignatureWrong(Refused):
    """This feed's requests are signed, and the signature of this one is missing or does not hold."""

    code = "request_signature_wrong"


class RequestNotInTime(Refused):
    """The signed time of this request is too far from now: a clock is wrong, or it is an old one sent again."""

    code = "request_not_in_time"


class SecretUnavailable(Refused):
    """This feed's secret can't be read here now, so that its signed requests can't be checked; try again."""

    code = "secret_unavailable"


class RequestReplayed(Refused):
    """This very request came before; sign each request anew."""

    code = "request_replayed"


class IdentifierReused(Refused):
    """A report with this identifier came before and says something else; this one is kept and shown as unread."""

    code = "identifier_reused"


class EndRefused(Refused):
    """Out of service and maintenance need an end in the future, at most a year away."""

    code = "end_refused"


class ProblemView(BaseModel):
    """The body of every refusal. `title` is the sentence, `detail` the particular of this case."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    sentence_zh: str
    detail: str | None = None
    errors: list[dict[str, str]] | None = Field(default=None, description="Which parts of the request are malformed.")


# Status and the Chinese sentence by class; a subclass stands under its own row or its parent's.
ANSWERS: Mapping[type[Refused], tuple[int, str]] = {
    Refused: (409, "请求被拒绝。"),
    refusals.NotFound: (404, "没有找到这个编号对应的内容。"),
    refusals.NotAllowed: (403, "您没有可以执行此操作的角色。"),
    refusals.NotYourOffice: (403, "这项任务是交给其他值守单位的。"),
    refusals.AlreadyReleasedByYou: (409, "您已经签发过；还需要另一个人审阅签发。"),
    refusals.AskedTwo: (409, "此事同时询问两人，您已答复其中一项；这一项须由另一人答复。"),
    refusals.ApproverMissing: (409, "两人之中必须有一名审签人。"),
    refusals.ContentChanged: (409, "您阅读之后内容已有变化；请重新阅读并确认。"),
    refusals.SentenceDiffers: (409, "您确认的语句与本指令的语句不一致。"),
    refusals.WrongState: (409, "当前状态下不能执行这一步。"),
    refusals.StillOnAir: (409, "警报仍在播出：请先停止、更正或解除。"),
    refusals.UnknownOnAir: (409, "消息代理上有本库不知的更新清单，须由人员决定接管或撤下，此前不予播发。"),
    refusals.NoTargets: (409, "该指令所指范围内没有已登记的终端。"),
    refusals.PlaceholderLeft: (409, "该指令的文稿中仍有未填充的占位符，会被照读出来。"),
    refusals.OverCap: (409, "该指令超出终端链路的限额。"),
    refusals.ResumeTooLate: (409, "只有停止者本人可在60秒内恢复；之后需要重新签发。"),
    refusals.NoKey: (409, "签名机没有该用途和区划的密钥。"),
    refusals.OlderKeyDocument: (409, "另一网关持有更新的密钥清单：本网关取得该清单之前不签名、不比对。"),
    refusals.KeyEndsTooSoon: (
        409,
        "密钥将在播出内容可以结束之前到期，届时无法签发停止、更正或解除：请先生成后继密钥。",
    ),
    refusals.NoUsableKey: (409, "目前没有网关能够为其签名，任何终端都不会播出：请修复密钥；演练可取消。"),
    refusals.ChangedOnAir: (409, "该处播出的内容在阅读之后已有变化；请再阅读一次。"),
    refusals.PlanOutOfDate: (409, "该指令的计划已过期并已重新制定；请再阅读一次。"),
    silences.SilenceRefused: (422, "静默须指明对象与理由，并在规则允许的时限内结束。"),
    silences.TooManySilences: (409, "静默已达上限：请先结束不再需要的静默。"),
    people.NotLoggedIn: (401, "请先登录；登录可能已过期。"),
    people.WrongPassword: (401, "姓名或密码不正确。"),
    people.PersonRefused: (422, "不能这样登记此人。"),
    people.NameTaken: (409, "这个姓名已被使用。"),
    clock.ClockInOrder: (409, "时钟正常，无需确认。"),
    clock.ClockMovedOn: (409, "查看之后时钟又有变化；请重新查看后再确认。"),
    panels.StillAsking: (409, "对该主机的同类请求尚未结束。"),
    panels.PanelOff: (409, "该主机已停用，不向其发送任何请求。"),
    TooManyTries: (429, "错误次数过多，请稍候再试。"),
    CsrfHeaderMissing: (403, "通过浏览器会话提交的更改缺少控制台专用请求头。"),
    FeedKeyWrong: (401, "密钥与此数据源不符。"),
    FeedDisabled: (403, "此数据源已停用。"),
    FeedFormatDiffers: (409, "此数据源登记的是另一种格式。"),
    RateLimited: (429, "此数据源在一分钟内报送过多，请稍候再报。"),
    RequestSignatureWrong: (401, "此数据源的请求须签名，而本次请求缺少签名或签名不符。"),
    RequestNotInTime: (401, "请求中签名的时间与当前时间相差过大：时钟有误，或是旧请求重发。"),
    SecretUnavailable: (503, "暂时无法读取此数据源的签名密钥，请重试。"),
    RequestReplayed: (409, "此请求已经收到过；每次请求须重新签名。"),
    IdentifierReused: (409, "已有同一编号而内容不同的报送；本次报送已作为未读输入保存并显示。"),
    EndRefused: (422, "停用与检修须有将来的结束时间，且不超过一年。"),
}

_MALFORMED = ("malformed", "The request does not have the form this address takes.", "请求的格式不符合要求。")
_HTTP: Mapping[int, tuple[str, str, str]] = {
    400: _MALFORMED,
    404: ("not_found", "There is nothing here under that address.", "这个地址下没有内容。"),
    405: ("method_not_allowed", "This address does not take that method.", "该地址不支持此方法。"),
    408: ("body_too_slow", "The body did not arrive in time.", "请求正文未能及时送达。"),
    415: (
        "encoding_refused",
        "Bodies are taken as they are; send this one without compression.",
        "正文不得压缩，请直接发送。",
    ),
    503: (
        "busy",
        "Too many large bodies are arriving at once; send this one again in a moment.",
        "大报文过多，请稍候再发。",
    ),
    413: ("body_too_big", "The body is larger than this address takes.", "请求正文超过上限。"),
}


def problem(
    status: int,
    code: str,
    sentence: str,
    sentence_zh: str,
    *,
    detail: str = "",
    errors: Sequence[dict[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """One refusal as a response."""
    body = ProblemView(
        title=sentence,
        status=status,
        code=code,
        sentence_zh=sentence_zh,
        detail=detail[:CHARS_SHOWN_MAX] or None,
        errors=list(errors) or None,
    )
    return JSONResponse(body.model_dump(exclude_none=True), status, dict(headers or {}), MEDIA_TYPE)


def by_status(status: int, *, detail: str = "", headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A refusal that HTTP itself has a name for."""
    phrase = HTTPStatus(status).phrase
    code, sentence, zh = _HTTP.get(status, (phrase.lower().replace(" ", "_"), f"{phrase}.", "请求未能处理。"))
    return problem(status, code, sentence, zh, detail=detail, headers=headers)


def answer(refused: Refused) -> JSONResponse:
    """A refusal of the domain, the engine or the API as a response."""
    status, zh = next(ANSWERS[kind] for kind in type(refused).__mro__ if kind in ANSWERS)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(refused, TooManyTries | RateLimited):
        headers["Retry-After"] = str(refused.retry_after_s)
    sentence = (type(refused).__doc__ or "").strip().split("\n")[0]
    return problem(status, refused.code, sentence, zh, detail=refused.detail, headers=headers)


def add_problem_handlers(app: FastAPI) -> None:
    """Let every exception of `app` end in problem+json."""

    @app.exception_handler(Refused)
    def refused(_: Request, error: Refused) -> JSONResponse:
        return answer(error)

    @app.exception_handler(StoreUnavailable)
    def unavailable(_: Request, error: StoreUnavailable) -> JSONResponse:
        return problem(
            503,
            "store_unavailable",
            "The database can't be reached now; nothing was accepted, try again.",
            "数据库暂时无法访问；请求未被接受，请重试。",
            headers={"Retry-After": str(RETRY_STORE_S)},
        )

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, *_MALFORMED, errors=[_shown(found) for found in error.errors()[:ERRORS_SHOWN_MAX]])

    @app.exception_handler(HTTPException)
    def by_http(_: Request, error: HTTPException) -> JSONResponse:
        return by_status(error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> JSONResponse:
        log.error("a request failed path=%s", request.url.path, exc_info=error)
        return problem(
            500,
            "broken",
            "Something here is broken; it was logged, and nothing was accepted.",
            "系统内部出错，已记录；请求未被接受。",
        )


def _shown(found: Mapping[str, object]) -> dict[str, str]:
    """Where and what, without the input itself: it may be a password."""
    where = found.get("loc")
    place = ".".join(str(part) for part in where) if isinstance(where, tuple) else ""
    return {"where": place[:CHARS_SHOWN_MAX], "message": str(found.get("msg", ""))[:CHARS_SHOWN_MAX]}
