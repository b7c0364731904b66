"""Fetches what a polled feed publishes, over HTTP: bounded in bytes, in time and in where redirects lead.

It asks once; when to ask again is `domain/polling`. The bounds hold against servers that mean harm: one that sends a
byte a second, one whose small answer unpacks to gigabytes, one that redirects into the house. A name is resolved once,
its addresses are judged, and one of just these is connected to: a name that answers differently the second time gains
nothing by it.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

BODY_BYTES_MAX = 4_194_304
WHOLE_S_MAX = 30.0
STEP_S_MAX = 10.0
REDIRECTS_MAX = 3
URL_CHARS_MAX = 2_048
ADDRESSES_MAX = 8
KEPT_HEADERS = ("etag", "last-modified", "retry-after", "content-type")
HEADER_CHARS_MAX = 1_024
_REDIRECTS = (301, 302, 303, 307, 308)
_PIECE_BYTES = 65_536
# Where clouds tell whoever asks from inside about themselves and their keys.
_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "168.63.129.16"))
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said. `headers` are those of use here, lower-case; `url` is where the body came from, which is
    read with status 200 alone."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class PollFailed(Exception):
    """The feed could not be had. `code` says why, `again` whether trying later makes sense."""

    def __init__(self, code: str, again: bool = True) -> None:
        super().__init__(f"The feed could not be had ({code}).")
        self.code = code
        self.again = again


class HttpPoll:
    """Asks over HTTP and HTTPS. `ca` is a file of certificates to trust in place of the system's; `loopback` lets it
    ask this very machine, which is for tests and demonstrations."""

    def __init__(
        self,
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
        whole_s_max: float = WHOLE_S_MAX,
        ca: str | None = None,
        loopback: bool = False,
    ) -> None:
        self._bytes_max = body_bytes_max
        self._whole_s = whole_s_max
        self._tls = ssl.create_default_context(cafile=ca)
        self._loopback = loopback

    def get(self, url: str, headers: Mapping[str, str] | None = None, *, home: str | None = None) -> Answer:
        """One answer, whatever its status; raises PollFailed. Blocks, so it is for worker threads alone.

        `home` is the address that people have enrolled, `url` itself where there is none: its host may lie in a
        private network, every other host must be public.
        """
        return asyncio.run(self._within_time(url, dict(headers or {}), _host_of(home or url)))

    async def _within_time(self, url: str, headers: dict[str, str], home: str) -> Answer:
        # One deadline over connecting, headers and body: the client's own time limits begin anew with every byte.
        try:
            async with asyncio.timeout(self._whole_s):
                return await self._follow(_checked(url), headers, home)
        except TimeoutError as cause:
            raise PollFailed("too_slow") from cause
        except httpx.TimeoutException as cause:
            raise PollFailed("too_slow") from cause
        except httpx.TransportError as cause:
            raise PollFailed("unreachable") from cause
        except (httpx.InvalidURL, httpx.DecodingError, UnicodeError) as cause:
            raise PollFailed("unreadable_answer") from cause

    async def _follow(self, url: httpx.URL, headers: dict[str, str], home: str) -> Answer:
        steps = httpx.Timeout(min(STEP_S_MAX, self._whole_s))
        # The surroundings (proxies, .netrc) have no say in what is asked of whom.
        async with httpx.AsyncClient(verify=self._tls, timeout=steps, trust_env=False) as client:
            for _ in range(REDIRECTS_MAX + 1):
                answer = await self._ask(client, url, headers, home)
                if isinstance(answer, Answer):
                    return answer
                url = answer
        raise PollFailed("too_many_redirects")

    async def _ask(
        self, client: httpx.AsyncClient, url: httpx.URL, headers: dict[str, str], home: str
    ) -> Answer | httpx.URL:
        """The answer, or where it sends us."""
        sent = {"Accept-Encoding": "gzip", "Host": url.netloc.decode("ascii"), **headers}
        *others, last = await self._addresses(url, home)
        for address in others:
            try:
                return await self._ask_at(address, client, url, sent)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._ask_at(last, client, url, sent)

    async def _ask_at(
        self, address: _Address, client: httpx.AsyncClient, url: httpx.URL, sent: dict[str, str]
    ) -> Answer | httpx.URL:
        """The same at one address of the host; its certificate must be the name's all the same."""
        there, named = url.copy_with(host=str(address)), {"sni_hostname": url.raw_host.decode("ascii")}
        async with client.stream("GET", there, headers=sent, follow_redirects=False, extensions=named) as response:
            if response.status_code in _REDIRECTS:
                return _redirected(url, response.headers.get("location", ""))
            body = await self._body(response) if response.status_code == 200 else b""
        kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        short = {name: value for name, value in kept.items() if len(value) <= HEADER_CHARS_MAX}
        return Answer(response.status_code, short, body, str(url))

    async def _addresses(self, url: httpx.URL, home: str) -> list[_Address]:
        """Where this host lies. Raises PollFailed unless every address of it is one that may be asked."""
        port = url.port or (443 if url.scheme == "https" else 80)
        host = url.raw_host.decode("ascii").strip("[]")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as cause:
            raise PollFailed("name_unknown") from cause
        addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found[:ADDRESSES_MAX]]
        if not addresses:
            raise PollFailed("name_unknown")
        if not all(self._may_be_asked(address, at_home=_host_of(str(url)) == home) for address in addresses):
            raise PollFailed("address_refused")
        return addresses

    def _may_be_asked(self, address: _Address, *, at_home: bool) -> bool:
        plain = _inner(address)
        if plain.is_loopback:
            return self._loopback
        if plain in _METADATA or plain.is_link_local or plain.is_multicast or plain.is_unspecified or plain.is_reserved:
            return False
        return at_home or plain.is_global

    async def _body(self, response: httpx.Response) -> bytes:
        unpack = _Unpacker(response.headers.get("content-encoding", ""), self._bytes_max)
        size = 0
        async for piece in response.aiter_raw(_PIECE_BYTES):
            size += len(piece)
            if size > self._bytes_max:
                raise PollFailed("too_big")
            unpack.add(piece)
        return unpack.finished()


class _Unpacker:
    """Undoes the content coding and never holds more than the bound, however small the packed bytes are."""

    def __init__(self, coding: str, bytes_max: int) -> None:
        coding = coding.strip().lower()
        if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise PollFailed("unknown_encoding")
        self._bytes_max = bytes_max
        self._zlib = None if coding in ("", "identity") else zlib.decompressobj(_GZIP_OR_ZLIB)
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        if self._zlib is None:
            self._keep(piece)
            return
        try:
            plain = self._zlib.decompress(piece, self._bytes_max - self._size + 1)
        except zlib.error as cause:
            raise PollFailed("bad_encoding") from cause
        self._keep(plain)
        if self._zlib.unused_data:
            raise PollFailed("bad_encoding")

    def _keep(self, plain: bytes) -> None:
        self._size += len(plain)
        if self._size > self._bytes_max:
            raise PollFailed("too_big")
        self._parts.append(plain)

    def finished(self) -> bytes:
        if self._zlib is not None and self._parts and not self._zlib.eof:
            raise PollFailed("bad_encoding")
        return b"".join(self._parts)


def _inner(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 address stands for, where it stands for one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _host_of(text: str) -> str:
    try:
        return (urlsplit(text).hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def _checked(text: str) -> httpx.URL:
    """An address that may be asked: http or https, a host, nobody's name and password in it."""
    if len(text) > URL_CHARS_MAX:
        raise PollFailed("url_refused", again=False)
    try:
        # The client mends what is no address at all; the standard library refuses it.
        port = urlsplit(text).port
        url = httpx.URL(text)
    except (ValueError, httpx.InvalidURL) as cause:
        raise PollFailed("url_refused", again=False) from cause
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or port == 0:
        raise PollFailed("url_refused", again=False)
    return url


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    """Where a redirect may lead: to https anywhere, or to the same host without giving up https."""
    try:
        target = _checked(str(url.join(location)))
    except (PollFailed, httpx.InvalidURL, UnicodeError) as cause:
        raise PollFailed("redirect_refused") from cause
    same_host = target.host == url.host and target.scheme == url.scheme
    if not location or not (target.scheme == "https" or same_host):
        raise PollFailed("redirect_refused")
    return target
