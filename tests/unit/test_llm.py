"""The client against a server that misbehaves; rate limits, the log and the price beside it."""

import asyncio
import logging
import time
import traceback
from pathlib import Path

import pytest
from stand_in_llm import Behaviour, StandIn

from ramkit.errors import InputError, MissingError, RamkitError
from ramkit.text.answer_log import AnswerLog, mend, read_log
from ramkit.text.cost import Purse, price_of, prompt_tokens_of, read_price
from ramkit.text.llm import Client, Endpoint, FailedError, Question, RefusedError, Reply, hide_keys, is_loopback
from ramkit.text.rate_limit import LONGEST_WAIT, Gate, back_off, retry_after, seconds_of

KEY = "sk-proj-Abc123verysecret456"


def ask(behaviour: Behaviour, answers: int = 3, **settings: object) -> tuple[Reply, StandIn]:
    with StandIn(behaviour) as server:
        endpoint = Endpoint(
            **{"model": "m", "base_url": server.base_url, "first_wait": 0.01, "timeout": 5.0, **settings}
        )

        async def go() -> Reply:
            async with Client(endpoint) as client:
                return await client.ask(Question("What does a dog look like?", answers))

        return asyncio.run(go()), server


@pytest.mark.parametrize("fault", ["429", "500", "503", "cut", "malformed", "no choices", "huge"])
def test_a_fault_is_asked_again(fault: str) -> None:
    reply, server = ask(Behaviour(script=[fault, fault, ""]))
    assert len(reply.texts) == 3
    assert server.counts["requests"] == 3
    assert reply.answer_tokens == 60


@pytest.mark.parametrize("fault", ["hang", "trickle"])
def test_what_never_ends_is_given_up(fault: str) -> None:
    started = time.monotonic()
    reply, _ = ask(Behaviour(script=[fault, ""], hang=20.0), timeout=0.3)
    assert len(reply.texts) == 3
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(("fault", "count"), [("fewer", 2), ("more", 5)])
def test_wrong_counts_are_told_as_they_are(fault: str, count: int) -> None:
    reply, _ = ask(Behaviour(script=[fault]))
    assert len(reply.texts) == count


def test_retry_after_is_waited_for_and_uses_up_no_attempt() -> None:
    started = time.monotonic()
    ask(Behaviour(script=["429"] * 6 + [""], retry_after="0.1"), attempts=2)
    assert 0.6 <= time.monotonic() - started < 5


def test_attempts_end() -> None:
    with pytest.raises(
        FailedError, match=r"gave up a request after 3 attempts, the last one: HTTP 500 \(something broke"
    ):
        ask(Behaviour(faults=1.0, kinds=("500",)), attempts=3)


def test_no_server_is_an_error_that_names_the_cure() -> None:
    async def go() -> None:
        async with Client(Endpoint("m", "http://127.0.0.1:9/v1", first_wait=0.01, attempts=2)) as client:
            await client.ask(Question("x", 1))

    with pytest.raises(FailedError, match=r"connection lost or refused.*Check the server"):
        asyncio.run(go())


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (Behaviour(model="other"), "HTTP 404.*does not exist.*Check --llm and --base-url"),
        (Behaviour(quota=0), "HTTP 429.*exceeded your current quota.*Add credit"),
    ],
)
def test_what_no_attempt_can_mend_stops_at_once(behaviour: Behaviour, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        ask(behaviour)


def test_the_key_is_sent_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    reply, _ = ask(Behaviour(key=KEY))
    assert len(reply.texts) == 3
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "-old")
    with pytest.raises(RefusedError, match="Set OPENAI_API_KEY to a valid key") as caught:
        ask(Behaviour(key=KEY))  # this server repeats the key that it refuses
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(caught.value.__dict__)
    assert "verysecret" not in shown


def test_a_key_is_needed_away_from_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(
        MissingError, match=r"https://api.openai.com/v1 needs a key. Set OPENAI_API_KEY; or use a local"
    ):
        Client(Endpoint("gpt-4o"))
    with pytest.raises(InputError, match="is no address"):
        Client(Endpoint("m", "localhost:8000"))
    assert Client(Endpoint("m", "http://user:word@localhost:8000/v1")).endpoint.url == "http://localhost:8000/v1"


def test_loopback() -> None:
    assert [is_loopback(url) for url in ("http://127.0.0.2:1", "http://[::1]/v1", "http://localhost/v1")] == [True] * 3
    assert not is_loopback("http://localhost.example.org/v1")
    assert not is_loopback("https://api.openai.com/v1")


def test_keys_are_hidden_in_the_words_of_servers() -> None:
    assert hide_keys("Incorrect key sk-abc***xyz. Bearer abcdef") == "Incorrect key … …"
    assert hide_keys("bad: my-own-key", "my-own-key") == "bad: …"


def test_proxies_do_not_carry_requests_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert len(ask(Behaviour())[0].texts) == 3


def test_limits_told_in_headers_are_kept() -> None:
    with StandIn(Behaviour(per_window=5, window=0.3)) as server:
        endpoint = Endpoint("m", server.base_url, first_wait=0.01)

        async def go() -> None:
            async with Client(endpoint) as client:
                await client.ask(Question("first", 1))
                await asyncio.gather(*(client.ask(Question("x", 1)) for _ in range(14)))

        started = time.monotonic()
        asyncio.run(go())
        assert time.monotonic() - started > 0.5  # 15 requests in windows of 5
        assert server.counts["over the limit"] <= 6
        assert endpoint.gate.waited > 0


def test_the_gate_counts_tokens() -> None:
    now = [0.0]
    gate = Gate(clock=lambda: now[0])
    gate.told({"x-ratelimit-remaining-tokens": "100", "x-ratelimit-reset-tokens": "2s"})
    assert gate._pause(80) == 0
    assert gate._pause(120) == 2.0
    now[0] = 2.5
    assert gate._pause(120) == 0
    gate.told({"x-ratelimit-remaining-tokens": "lots", "x-ratelimit-reset-tokens": "soon"})
    gate.hold(3)
    assert gate._pause(1) == 3.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "99999"}, 600.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "later"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360.0), ("20ms", 0.02), ("1.5s", 1.5), ("7", 7.0), ("1h1s", 3601.0), ("x", None), ("", None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_back_off_grows_at_random_up_to_a_bound() -> None:
    waits = [back_off(2) for _ in range(50)]
    assert 0.5 <= min(waits) < max(waits) <= 2.0
    assert back_off(1000) <= LONGEST_WAIT


def test_the_log_syncs_in_groups_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"

    async def go() -> int:
        async with AnswerLog(path) as log:
            for number in range(500):
                await log.append([{"index": number, "text": "é" * 10}])
                if number % 50 == 0:
                    await asyncio.sleep(0)
            await log.synced()
            assert path.read_bytes().count(b"\n") == 500
            await log.append([{"index": 500}])
            return log.syncs

    assert asyncio.run(go()) < 500
    rows = list(read_log(path))
    assert [row["index"] for _, row in rows] == list(range(501))
    with path.open("rb") as stream:
        stream.seek(rows[7][0])
        assert stream.readline().startswith(b'{"index": 7,')


@pytest.mark.parametrize("tail", [b"", b'{"index": 1, "te', b'{"index": 1}', b"\xff\xfe", b"x" * 200_000])
def test_a_torn_line_is_cut_off_and_nothing_else(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"index": 0}\n[1]\nnot json\n{"index": 2}\n' + tail)
    mend(path)
    assert path.read_bytes().endswith(b'{"index": 2}\n')
    assert [row["index"] for _, row in read_log(path)] == [0, 2]
    mend(tmp_path / "none")
    assert list(read_log(tmp_path / "none")) == []


def test_a_full_disk_is_told_and_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    async def go() -> None:
        async with AnswerLog(tmp_path / "log") as log:
            with monkeypatch.context() as patch:
                patch.setattr("os.fsync", full)
                await log.append([{"index": 0}])
                await asyncio.sleep(0.1)
            await log.append([{"index": 1}])

    with pytest.raises(RamkitError, match=r"No space left.*Free some space"):
        asyncio.run(go())


def test_a_purse_sets_aside_what_a_call_may_cost() -> None:
    purse = Purse(read_price("1,10"), agreed=25e-6)
    most = purse.set_aside(5, 1)
    assert most == pytest.approx(15e-6)
    assert purse.set_aside(5, 1) is None, "10 of 25 are left, a call may take 15"
    purse.settle(most or 0.0, 5, 0)
    assert purse.spent == pytest.approx(5e-6)
    assert purse.aside == pytest.approx(0.0)
    assert purse.set_aside(5, 1) == pytest.approx(15e-6)
    assert Purse(read_price("1,10")).set_aside(10**12, 10**12) is not None, "without an agreement all is paid for"


def test_prices() -> None:
    price = price_of("gpt-4o-mini-2024-07-18")
    assert price is not None
    assert price.of(1_000_000, 1_000_000) == pytest.approx(0.75)
    halved = price_of("gpt-4o-mini", batch=True)
    assert halved is not None
    assert halved.of(0, 1_000_000) == pytest.approx(0.30)
    assert price_of("who-knows") is None
    assert price_of("who-knows", local=True) == read_price("0,0")
    assert price_of("who-knows", "1,2") == read_price("1, 2")
    assert prompt_tokens_of("Describe concisely what a dog looks like.") == 21
    for bad in ("1", "a,b", "-1,2", "nan,1"):
        with pytest.raises(InputError, match="Give READ,WRITTEN"):
            read_price(bad)
