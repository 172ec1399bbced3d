"""An OpenAI-compatible endpoint, asked politely and never trusted.

A client asks one prompt for several answers. It waits where the server asks for it, tries again where trying again
helps (429, 5xx, timeouts, cut connections, answers that are no JSON or of megabytes), and raises an error that names
the cure where it does not (wrong key, unknown model, no credit). The key comes from the environment and goes into the
request's header and nowhere else.
"""

import asyncio
import ipaddress
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from ramkit.errors import InputError, MissingError, RamkitError
from ramkit.text.rate_limit import FIRST_WAIT, Gate, back_off, retry_after

KEY_VARIABLE = "OPENAI_API_KEY"
OPENAI = "https://api.openai.com/v1"
MOST_BYTES = 4_000_000  # of one response: fifty answers of 77 tokens are below 100,000
FIRST_ATTEMPTS = 3  # while nothing was ever heard of the server: most likely it is not running
MOST_HOLDS = 200  # times that one request waits because the server asks for it
_HIDDEN = re.compile(r"\b(sk|gsk|rk|pk|key|hf)[-_][\w*.\-]{4,}|Bearer\s+\S+", re.IGNORECASE)
_OUT_OF_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Question:
    """One request: what is asked, how many answers are wanted."""

    prompt: str
    answers: int
    context: str = ""  # which sense of the tag is meant

    def messages(self) -> list[dict[str, str]]:
        about = [{"role": "system", "content": self.context}] if self.context else []
        return [*about, {"role": "user", "content": self.prompt}]


@dataclass(frozen=True)
class Reply:
    """What came back: the answers, whether each was cut at the token limit, and what they cost in tokens."""

    texts: tuple[str, ...]
    cut: tuple[bool, ...]
    prompt_tokens: int = 0
    answer_tokens: int = 0


class FailedError(RamkitError):
    """One request failed as often as it may; others may still succeed."""


class RefusedError(RamkitError):
    """The server refuses all requests of this kind: asking on would be in vain."""


@dataclass
class Endpoint:
    """Where and how to ask."""

    model: str
    base_url: str = ""
    temperature: float = 0.99
    max_tokens: int = 77
    timeout: float = 60.0  # seconds for one whole request, however slowly it trickles in
    attempts: int = 8
    first_wait: float = FIRST_WAIT
    gate: Gate = field(default_factory=Gate)

    @property
    def url(self) -> str:
        """The address without a user name or password in it: fit for manifests and messages."""
        return without_login(self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI)

    @property
    def is_local(self) -> bool:
        return is_loopback(self.url)


class Client:
    """Asks one endpoint. Use it as `async with Client(endpoint) as client`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.retries = 0
        self._reached = False
        self._key = _key_for(endpoint)

    async def __aenter__(self) -> "Client":
        import openai

        end = self.endpoint
        self.openai = openai.AsyncOpenAI(
            api_key=self._key,
            base_url=end.base_url or None,
            max_retries=0,  # retries are made here, where a rate limit holds all requests back, not just one
            timeout=openai.Timeout(end.timeout, connect=10.0),
            http_client=_http_client(local=end.is_local),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.openai.close()

    async def ask(self, question: Question) -> Reply:
        """The answers to one question; fewer or more than wanted where the server will have it so.

        Raises:
            FailedError: every attempt failed.
            RefusedError: no attempt can succeed.
        """
        tokens = len(question.prompt) // 3 + 20 + question.answers * self.endpoint.max_tokens
        return await self.patiently(lambda: self._once(question), tokens=tokens)

    async def patiently(self, call: Callable[[], Awaitable[Result]], *, tokens: int = 0) -> Result:
        """The result of a request, made again as long as that may help."""
        faults = held = 0
        while True:
            await self.endpoint.gate.enter(tokens)
            trouble, pause = "", None
            try:
                async with asyncio.timeout(self.endpoint.timeout):
                    return await call()
            except TimeoutError:
                trouble = f"no whole answer within {self.endpoint.timeout:g} s"
            except Exception as error:
                trouble, pause = self._judge_error(error)
            # Being told to wait is no fault of the server: it uses up far more patience than attempts.
            held, faults = (held + 1, faults) if pause is not None else (held, faults + 1)
            attempts = self.endpoint.attempts if self._reached else min(FIRST_ATTEMPTS, self.endpoint.attempts)
            if faults >= attempts or held >= MOST_HOLDS:
                break
            self.retries += 1
            await asyncio.sleep(back_off(0 if pause is not None else faults - 1, first=self.endpoint.first_wait))
        raise FailedError(
            f"{self.endpoint.url}: gave up a request after {faults + held} attempts, the last one: {trouble}.",
            cure="Check the server, then run the same command again: it goes on where it stopped.",
        )

    def body(self, question: Question) -> dict[str, Any]:
        """A question as the protocol has it."""
        end = self.endpoint
        limit = "max_completion_tokens" if _wants_completion_limit(end.model) else "max_tokens"
        body = {"model": end.model, "messages": question.messages(), "temperature": end.temperature}
        several = {"n": question.answers} if question.answers > 1 else {}
        return {**body, limit: end.max_tokens, **several}

    async def _once(self, question: Question) -> Reply:
        from openai._constants import RAW_RESPONSE_HEADER

        # What `chat.completions.with_streaming_response.create` does, less its walk through the body to rename fields,
        # which is half of a call's work.
        response: Any = await self.openai.post(
            "/chat/completions",
            cast_to=object,
            body=self.body(question),
            options={"headers": {RAW_RESPONSE_HEADER: "stream"}},
        )
        try:
            self._reached = True
            self.endpoint.gate.told(response.headers)
            body = bytearray()
            async for piece in response.iter_bytes():
                body += piece
                if len(body) > MOST_BYTES:
                    raise _UnusableError(f"an answer of more than {MOST_BYTES // 1_000_000} MB")
        finally:
            await response.close()
        return read_reply(bytes(body))

    def _judge_error(self, error: Exception) -> tuple[str, float | None]:
        """What to say of an error that trying again may mend, and how long the server asks to wait.

        Any other error is raised in the user's words.
        """
        import openai

        if isinstance(error, openai.APIStatusError):
            self._reached = True
            pause = self._learn(error)
            if error.status_code in (408, 409, 425, 429) or error.status_code >= 500:
                return f"HTTP {error.status_code} {self._said(error)}".strip(), pause
            raise self._refusal(error) from None
        if isinstance(error, _UnusableError):
            return str(error), None
        if isinstance(error, (openai.APIConnectionError, OSError)) or _is_transport_error(error):
            return f"connection lost or refused ({type(error.__cause__ or error).__name__})", None
        raise error

    def _learn(self, error: Any) -> float | None:
        """What an error response tells of limits: how long to wait, where it says so."""
        headers: Mapping[str, str] = error.response.headers
        if getattr(error, "code", None) in _OUT_OF_CREDIT or getattr(error, "type", None) in _OUT_OF_CREDIT:
            raise self._refusal(error) from None
        self.endpoint.gate.told(headers)
        pause = retry_after(headers)
        if pause is not None:
            self.endpoint.gate.hold(pause)
        return pause

    def _refusal(self, error: Any) -> RefusedError:
        cures = {
            401: f"Set {KEY_VARIABLE} to a valid key.",
            402: "Add credit to the account, then run the same command again.",
            403: "Use a key that may use this model.",
            404: "Check --llm and --base-url (it mostly ends in /v1).",
            429: "Add credit to the account, then run the same command again.",
        }
        status = error.status_code
        what = f"{self.endpoint.url} refuses model {self.endpoint.model}: HTTP {status} {self._said(error)}".rstrip()
        return RefusedError(what, cure=cures.get(status, "Check --llm, --base-url and the settings."))

    def _said(self, error: Any) -> str:
        """The server's own words, with anything like a key taken out: some servers repeat the key they refuse."""
        body = error.body if isinstance(error.body, dict) else {"message": error.body}
        said = next((body[name] for name in ("message", "detail", "error") if body.get(name)), "")
        words = " ".join(str(said).split())[:200]
        return hide_keys(f"({words})" if words else "", self._key)


class _UnusableError(Exception):
    """A response that came whole but cannot be read."""


def read_reply(body: bytes) -> Reply:
    """The answers in a response's body; what is malformed raises."""
    try:
        document = json.loads(body)
        choices = document["choices"]
        texts = tuple(str(choice["message"].get("content") or "") for choice in choices)
        cut = tuple(choice.get("finish_reason") == "length" for choice in choices)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _UnusableError("an answer that is not in the OpenAI form") from None
    if not texts:
        raise _UnusableError("an answer without choices")
    usage = document.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Reply(texts, cut, _whole(counts.get("prompt_tokens")), _whole(counts.get("completion_tokens")))


def hide_keys(text: str, key: str = "") -> str:
    """The text without the key and without anything that looks like one."""
    if len(key) > 3:
        text = text.replace(key, "…")
    return _HIDDEN.sub("…", text)


def without_login(url: str) -> str:
    """An address without the user name and password that may stand in it."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str) -> None:
    """InputError for what is no address of a server."""
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise InputError(f"{url!r} is no address.", cure="Give one such as http://127.0.0.1:8000/v1.")


def _http_client(*, local: bool) -> Any:
    """On aiohttp: half the work a call of openai's default. No proxy for requests to this very machine."""
    import openai

    return openai.DefaultAioHttpClient(trust_env=not local)


def _key_for(endpoint: Endpoint) -> str:
    check_url(endpoint.base_url)
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if key:
        return key
    if endpoint.is_local:
        return "none"  # the openai package wants one; local servers do not look at it
    raise MissingError(
        f"{endpoint.url} needs a key.",
        cure=f"Set {KEY_VARIABLE}; or use a local server with --base-url; or --llm wordnet, which needs none.",
    )


def _wants_completion_limit(model: str) -> bool:
    """OpenAI's reasoning models know the limit by its newer name alone."""
    return re.match(r"(o\d|gpt-5)", model) is not None


def _is_transport_error(error: Exception) -> bool:
    return type(error).__module__.split(".")[0] in (
        "aiohttp",
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "h11",
        "anyio",
        "ssl",
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
