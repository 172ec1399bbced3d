"""The describe stage end to end: WordNet, an LLM that misbehaves, kills and resumes, costs, reports."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stand_in_llm import Behaviour, StandIn, stats_of
from tiny_wordnet import write_wordnet

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.config import DescribeConfig
from ramkit.errors import ArtifactError, BusyError, InputError, MissingError, RamkitError
from ramkit.files import read_rows, write_rows
from ramkit.stages.describe import DESCRIPTIONS, Run, describe, plan_describe, report_on
from ramkit.text.cost import BATCH_DISCOUNT, Plan
from ramkit.text.prompts import PAPER_PROMPTS

TAGS = ("dog", "umbrella", "scissors", "mouse")
KEY = "sk-proj-Abc123verysecret456"


def rows_of(made: Artifact) -> list[dict[str, Any]]:
    return list(read_rows(made.file(DESCRIPTIONS)))


def make_vocabulary(root: Path, rows: list[dict[str, Any]]) -> Artifact:
    with artifact.draft(root, "vocabulary", config={}) as draft:
        write_rows(draft.path / "vocabulary.jsonl", rows)
        return draft.publish()


def make_tags(folder: Path, tags: tuple[str, ...] = TAGS) -> Path:
    path = folder / "tags.txt"
    path.write_text("\n".join(tags) + "\n", encoding="utf-8")
    return path


def fast(**settings: Any) -> Run:
    return Run(**{"first_wait": 0.01, "poll": 0.01, **settings})


def config(server: StandIn, **settings: Any) -> DescribeConfig:
    return DescribeConfig(**{"llm": "m", "base_url": server.base_url, "timeout": 1.0, **settings})


def assert_whole(rows: list[dict[str, Any]], tags: tuple[str, ...], prompts: int = 5, answers: int = 10) -> None:
    """Every answer is there exactly once, grouped by tag in order, the template first."""
    places = [(row["tag"], row["prompt"], row["index"]) for row in rows]
    expected = [
        place
        for tag in tags
        for place in [
            (tag, 0, 0),
            *((tag, prompt, index) for prompt in range(1, prompts + 1) for index in range(answers)),
        ]
    ]
    assert places == expected
    assert max(Counter((row["tag"], row["text"]) for row in rows).values()) == 1


class TestWordNet:
    def test_a_vocabulary_becomes_sentences(self, tmp_path: Path) -> None:
        vocabulary = make_vocabulary(
            tmp_path,
            [
                {"tag": "dog", "kind": "object", "count": 9, "aliases": []},
                {"tag": "running", "kind": "action", "count": 5, "aliases": []},
                {
                    "tag": "mouse",
                    "kind": "object",
                    "count": 5,
                    "aliases": [],
                    "gloss": "small rodents with a thin tail",
                },
            ],
        )
        made = describe(artifacts=tmp_path, config=DescribeConfig(), wordnet=write_wordnet(tmp_path / "wn"))
        made.require_input(vocabulary)
        rows = rows_of(made)
        assert [row["text"] for row in rows if row["index"] == 0] == [
            "a photo of a dog.",
            "a photo of running.",
            "a photo of a mouse.",
        ]
        assert {row["source"] for row in rows} == {"template", "wordnet 9.9"}
        assert "A mouse is any of the small rodents with a thin tail." in [row["text"] for row in rows]
        assert describe(artifacts=tmp_path, config=DescribeConfig(), wordnet=tmp_path / "wn").version == 1
        assert made.manifest["notes"]["source"] == "wordnet 9.9"
        assert "Princeton" in made.manifest["notes"]["licence"]
        assert made.statistics["tags"] == 3

    def test_short_captions_are_added_where_asked_for(self, tmp_path: Path) -> None:
        make_vocabulary(tmp_path, [{"tag": "dog", "kind": "object", "count": 9, "aliases": []}])
        captions = ["A dog on a long, long road with many other things around it.", "A dog runs fast.", "Dog!"]
        with artifact.draft(tmp_path, "triplets", config={}) as draft:
            write_rows(
                draft.path / "triplets.jsonl", [{"image": "1.jpg", "captions": captions, "tags": ["dog", "road"]}]
            )
            draft.publish()
        made = describe(
            artifacts=tmp_path, config=DescribeConfig(captions=1, sentences=3), wordnet=write_wordnet(tmp_path / "wn")
        )
        assert [(row["index"], row["source"], row["text"]) for row in rows_of(made)][-1] == (
            3,
            "caption",
            "A dog runs fast.",
        )
        assert set(made.manifest["inputs"]) == {"vocabulary", "triplets"}

    def test_on_the_command_line(self, tmp_path: Path, ramkit: Callable[..., Any]) -> None:
        folder = write_wordnet(tmp_path / "wn")
        arguments = ("describe", "--artifacts", tmp_path / "a", "--wordnet", folder)
        assert "Make one: ramkit parse-tags" in ramkit(*arguments).err
        done = ramkit(*arguments, "--tags", make_tags(tmp_path))
        assert done.code == 0
        assert "descriptions:v1" in done.err
        report = ramkit("describe", "--artifacts", tmp_path / "a", "--report", "--json")
        assert json.loads(report.out)["tags"] == 4
        assert "Worst tags" in ramkit("describe", "--artifacts", tmp_path / "a", "--report").out
        missing = ramkit(
            "describe", "--artifacts", tmp_path / "a", "--wordnet", tmp_path, "--tags", tmp_path / "tags.txt"
        )
        assert (missing.code, "apt install wordnet-base" in missing.err) == (1, True)

    @pytest.mark.parametrize(("content", "message"), [("\n# only this\n", "holds no tag"), (None, "no such file")])
    def test_tag_files_that_cannot_be_used(self, tmp_path: Path, content: str | None, message: str) -> None:
        path = tmp_path / "tags.txt"
        if content is not None:
            path.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            describe(artifacts=tmp_path, config=DescribeConfig(), tags=path)

    def test_an_empty_vocabulary(self, tmp_path: Path) -> None:
        make_vocabulary(tmp_path, [])
        with pytest.raises(InputError, match="vocabulary is empty"):
            describe(artifacts=tmp_path, config=DescribeConfig())


class TestLlm:
    def test_every_answer_is_there_once(self, tmp_path: Path) -> None:
        with StandIn() as server:
            made = describe(artifacts=tmp_path, config=config(server), tags=make_tags(tmp_path), run=fast())
        assert_whole(rows_of(made), TAGS)
        assert sorted(path.name for path in made.path.iterdir()) == [DESCRIPTIONS, "manifest.json"]
        assert made.statistics["calls"] == 20
        assert made.statistics["tokens"]["written"] == 4000
        assert made.manifest["notes"]["source"] == "m"
        asked = {request["messages"][-1]["content"] for request in server.requests}
        assert "Describe concisely what an umbrella looks like." in asked
        assert "What do scissors look like concisely?" in asked
        assert server.requests[0]["temperature"] == 0.99

    def test_faults_of_every_kind_lose_and_double_nothing(self, tmp_path: Path) -> None:
        tags = tuple(f"thing {number}" for number in range(30))
        with StandIn(Behaviour(faults=0.3, hang=20.0, latency=0.002, seed=3)) as server:
            made = describe(
                artifacts=tmp_path, config=config(server, timeout=0.4), tags=make_tags(tmp_path, tags), run=fast()
            )
        assert_whole(rows_of(made), tags)
        assert server.counts["hang"] > 0
        assert server.counts["bad answer"] > 0
        assert made.statistics["faults"]

    @pytest.mark.parametrize("many", ["ignored", "refused"])
    def test_a_server_that_gives_one_answer_at_a_time(self, tmp_path: Path, many: str) -> None:
        with StandIn(Behaviour(many=many)) as server:
            made = describe(artifacts=tmp_path, config=config(server, answers=4), tags=make_tags(tmp_path), run=fast())
        assert_whole(rows_of(made), TAGS, answers=4)
        assert sum(request.get("n", 1) > 1 for request in server.requests) <= 3  # found out once
        assert server.counts["answers"] == len(TAGS) * 5 * 4

    def test_concurrency_is_bounded(self, tmp_path: Path) -> None:
        with StandIn(Behaviour(latency=0.01)) as server:
            describe(artifacts=tmp_path, config=config(server, concurrency=4), tags=make_tags(tmp_path), run=fast())
        assert server.counts["most at once"] == 4

    def test_bad_answers_are_asked_again_within_a_budget(self, tmp_path: Path) -> None:
        with StandIn(Behaviour(faults=1.0, kinds=("bad answer",))) as server:
            made = describe(
                artifacts=tmp_path, config=config(server, answers=2, again=4), tags=make_tags(tmp_path), run=fast()
            )
        rows = rows_of(made)
        assert {row["tag"] for row in rows} == set(TAGS)  # each has the template at least
        assert made.statistics["missing"] > 0
        assert server.counts["answers"] <= len(TAGS) * 5 * 6
        assert all(row["doubt"] == "not visual" for row in rows if row["prompt"] and "kind and loyal" in row["text"])
        assert made.statistics["doubtful"] == sum("doubt" in row for row in rows)

    def test_the_sense_of_a_tag_is_told(self, tmp_path: Path) -> None:
        make_vocabulary(tmp_path, [{"tag": "crane", "kind": "object", "count": 2, "gloss": "a large wading bird"}])
        with StandIn() as server:
            describe(artifacts=tmp_path, config=config(server), run=fast())
        assert server.requests[0]["messages"][0] == {
            "role": "system",
            "content": 'Here "crane" means: a large wading bird.',
        }

    def test_tags_may_be_rows_with_a_gloss(self, tmp_path: Path) -> None:
        tags = tmp_path / "tags.jsonl"
        tags.write_text('{"tag": "crane", "gloss": "a machine that lifts"}\n{"tag": "ride", "kind": "action"}\n')
        with StandIn() as server:
            made = describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast())
            said = {request["messages"][0]["content"] for request in server.requests}
        assert said == {'Here "crane" means: a machine that lifts.', 'Here "riding" names an action as seen in photos.'}
        assert_whole(rows_of(made), ("crane", "ride"))
        tags.write_text('{"name": "crane"}\n')
        with StandIn() as server, pytest.raises(InputError, match="a row without a tag"):
            describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast())

    def test_a_run_whose_answers_are_all_there_makes_no_new_version(self, tmp_path: Path) -> None:
        tags = make_tags(tmp_path)
        told: list[str] = []
        with StandIn() as server:
            first = describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast())
            asked = server.counts["requests"]
            again = fast(tell=told.append)
            assert (
                describe(artifacts=tmp_path, config=config(server, concurrency=3), tags=tags, run=again).id == first.id
            )
            assert (told, server.counts["requests"]) == (["nothing to do: descriptions:v1 is up to date."], asked)
            describe(artifacts=tmp_path, config=config(server, answers=2), tags=tags, run=fast())
            back = describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast())
            assert (back.version, back.id) == (3, first.id), "stages take the newest, so it has to be this one"
            (back.path / DESCRIPTIONS).write_text("spoilt", encoding="utf-8")
            assert describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast()).version == 4
        assert artifact.versions(tmp_path, "descriptions") == [1, 2, 3, 4]

    def test_what_it_comes_to_is_shown_beside_the_bar(self, tmp_path: Path) -> None:
        shown: list[str] = []

        def track(items: Any, *, total: Any, what: str, done: int = 0, detail: Any = None) -> Any:
            for item in items:
                shown.append(detail())
                yield item

        with StandIn() as server:
            given = {"config": config(server), "tags": make_tags(tmp_path), "run": fast(price="1000,1000")}
            made = describe(artifacts=tmp_path, **given, track=track)
        assert len(shown) == 200
        spent = made.statistics
        assert shown[-1] == f"20 calls, {sum(spent['tokens'].values()):,} tokens, ${spent['dollars']:.2f}"

    def test_own_prompts(self, tmp_path: Path, ramkit: Callable[..., Any]) -> None:
        prompts = tmp_path / "prompts.txt"
        prompts.write_text("Wie sieht {} aus?\nBeschreibe {}.\n", encoding="utf-8")
        with StandIn() as server:
            done = ramkit(
                "describe", "--artifacts", tmp_path, "--tags", make_tags(tmp_path), "--llm", "m",
                "--base-url", server.base_url, "--prompts", prompts, "--answers", 3,
            )  # fmt: skip
        assert done.code == 0, done.err
        assert_whole(rows_of(artifact.find(tmp_path, "descriptions")), TAGS, prompts=2, answers=3)
        assert "Wie sieht dog aus?" in server.prompts

    def test_a_refusing_server_stops_the_run_and_keeps_what_came(self, tmp_path: Path) -> None:
        tags = make_tags(tmp_path)
        with StandIn(Behaviour(quota=60)) as server:
            with pytest.raises(RamkitError, match=r"exceeded your current quota.*Add credit"):
                describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast())
            assert artifact.versions(tmp_path, "descriptions") == []
            server.behaviour.quota = None
            told: list[str] = []
            made = describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast(tell=told.append))
        assert_whole(rows_of(made), TAGS)
        assert "going on: " in told[0]
        assert server.counts["answers"] <= 60 + 16 * 10 + len(TAGS) * 50

    def test_partial_results_are_published_when_allowed_and_completed_later(self, tmp_path: Path) -> None:
        tags = make_tags(tmp_path)
        with StandIn() as server:
            with pytest.raises(RamkitError, match=r"answers are missing.*--allow-partial"):
                describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast(most_calls=3))
            partial = describe(
                artifacts=tmp_path, config=config(server), tags=tags, run=fast(most_calls=0, allow_partial=True)
            )
            assert partial.statistics["missing"] == 200 - server.counts["answers"] > 0
            assert {row["tag"] for row in rows_of(partial)} == set(TAGS)
            whole = describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast())
        assert_whole(rows_of(whole), TAGS)
        assert server.counts["answers"] == 200

    def test_a_grown_vocabulary_pays_for_its_new_tags_alone(self, tmp_path: Path) -> None:
        with StandIn() as server:
            describe(artifacts=tmp_path, config=config(server), tags=make_tags(tmp_path), run=fast())
            grown = (*TAGS[:2], "kite", *TAGS[2:])
            made = describe(artifacts=tmp_path, config=config(server), tags=make_tags(tmp_path, grown), run=fast())
            assert server.counts["answers"] == 250
            assert_whole(rows_of(made), grown)
            assert made.statistics["reused"] == 200
            hotter = config(server, temperature=0.5)
            describe(artifacts=tmp_path, config=hotter, tags=make_tags(tmp_path, ("dog",)), run=fast())
            assert server.counts["answers"] == 300  # other parameters, other answers

    def test_two_runs_at_once_are_refused(self, tmp_path: Path) -> None:
        tags = make_tags(tmp_path)
        with StandIn() as server:

            def second(_: Plan) -> bool:
                with pytest.raises(BusyError, match="another run"):
                    describe(artifacts=tmp_path, config=config(server, concurrency=2), tags=tags, run=fast())
                return True

            describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast(approve=second))

    def test_a_kill_at_any_moment_loses_and_doubles_nothing(self, tmp_path: Path) -> None:
        tags = tuple(f"thing {number}" for number in range(40))
        command = [
            sys.executable, "-m", "ramkit", "describe", "--artifacts", str(tmp_path), "--tags",
            str(make_tags(tmp_path, tags)), "--llm", "m",
        ]  # fmt: skip
        with StandIn(Behaviour(latency=0.03, faults=0.1, kinds=("500", "fewer", "bad answer"))) as server:
            command += ["--base-url", server.base_url]
            for after in (30, 60, 90):
                process = subprocess.Popen(command, stderr=subprocess.PIPE)
                deadline = time.monotonic() + 30
                while server.counts["fine"] < after and time.monotonic() < deadline:
                    time.sleep(0.005)
                os.kill(process.pid, signal.SIGKILL)
                process.communicate()
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "going on: " in done.stderr
        assert_whole(rows_of(artifact.find(tmp_path, "descriptions")), tags)
        # A kill loses what was on its way or within one group of syncs, and nothing that had come before.
        assert server.counts["answers"] < 2000 * 1.15 + 3 * 2 * 16 * 10

    def test_a_kill_while_publishing_loses_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tags = make_tags(tmp_path)

        def die(_: object) -> None:
            raise KeyboardInterrupt

        with StandIn() as server:
            with monkeypatch.context() as patch:
                patch.setattr(artifact.Draft, "publish", die)
                with pytest.raises(KeyboardInterrupt):
                    describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast())
            made = describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast())
        assert_whole(rows_of(made), TAGS)
        assert server.counts["answers"] == 200

    def test_the_batch_api(self, tmp_path: Path) -> None:
        with StandIn(Behaviour(faults=0.3)) as server:
            made = describe(artifacts=tmp_path, config=config(server), tags=make_tags(tmp_path), run=fast(batch=True))
        assert_whole(rows_of(made), TAGS)
        assert server.counts["batches"] > 1  # what failed went into the next one
        assert made.statistics["answers"] == 200
        assert sorted(path.name for path in made.path.iterdir()) == [DESCRIPTIONS, "manifest.json"]

    def test_a_batch_asks_no_more_than_it_may(self, tmp_path: Path) -> None:
        run = fast(batch=True, most_calls=2, allow_partial=True)
        with StandIn() as server:
            made = describe(artifacts=tmp_path, config=config(server), tags=make_tags(tmp_path), run=run)
        assert made.statistics["calls"] == 2
        assert made.statistics["missing"] > 0

    def test_a_batch_is_never_paid_for_twice(self, tmp_path: Path) -> None:
        tags = make_tags(tmp_path)
        with StandIn() as server:

            def stop(line: str) -> None:
                if "is sent" in line:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast(batch=True, tell=stop))
            [state] = tmp_path.glob("descriptions/.draft-*/batch.json")
            noted = json.loads(state.read_text(encoding="utf-8"))
            state.write_text(json.dumps({**noted, "batch": None}), encoding="utf-8")  # killed before it was noted
            made = describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast(batch=True))
        assert server.counts["batches"] == 1
        assert_whole(rows_of(made), TAGS)

    def test_the_key_is_in_no_file_and_no_output(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ramkit: Callable[..., Any]
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        arguments = (
            "describe",
            "--artifacts",
            tmp_path / "a",
            "--tags",
            make_tags(tmp_path),
            "--llm",
            "m",
            "--base-url",
        )
        with StandIn(Behaviour(key="sk-another")) as server:
            refused = ramkit(*arguments, server.base_url)
        with StandIn(Behaviour(key=KEY)) as server:
            done = ramkit(*arguments, server.base_url)
        assert (refused.code, done.code) == (1, 0)
        assert "Set OPENAI_API_KEY to a valid key" in refused.err
        shown = refused.out + refused.err + done.out + done.err
        shown += "".join(path.read_text("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file())
        assert "verysecret" not in shown
        assert "api_key" not in ramkit("describe", "--help").out


class TestCost:
    def test_a_dry_run_asks_nothing(self, tmp_path: Path, ramkit: Callable[..., Any]) -> None:
        with StandIn() as server:
            done = ramkit(
                "describe", "--artifacts", tmp_path / "a", "--tags", make_tags(tmp_path), "--llm", "m", "--base-url",
                server.base_url, "--dry-run", "--json", "--price", "1,10",
            )  # fmt: skip
            assert server.counts["requests"] == 0
        plan = json.loads(done.out)
        assert (plan["calls"], plan["calls_one_by_one"], plan["answer_tokens"]) == (20, 200, 200 * 77)
        assert plan["dollars"] == pytest.approx((plan["prompt_tokens"] + 10 * plan["answer_tokens"]) / 1e6)
        assert list((tmp_path / "a" / "descriptions").glob(".draft-*[!k]")) == []

    def test_what_is_there_is_counted_off(self, tmp_path: Path) -> None:
        tags = make_tags(tmp_path)
        with StandIn() as server:
            describe(artifacts=tmp_path, config=config(server), tags=tags, run=fast())
            make_tags(tmp_path, (*TAGS, "kite"))
            plan = plan_describe(artifacts=tmp_path, config=config(server), tags=tags)
        assert (plan.there, plan.calls, plan.dollars) == (200, 5, 0.0)
        assert "cost at most: $0.00" in plan.lines()[-1]

    def test_no_consent_no_cost(self, tmp_path: Path, ramkit: Callable[..., Any]) -> None:
        with StandIn() as server:
            arguments = (
                "describe", "--artifacts", tmp_path, "--tags", make_tags(tmp_path), "--llm", "m", "--base-url",
                server.base_url, "--price", "1000,1000",
            )  # fmt: skip
            refused = ramkit(*arguments)
            assert (refused.code, server.counts["requests"]) == (1, 0)
            assert "add --yes" in refused.err
            told = ramkit(*arguments, "--yes", "--json")
        assert json.loads(told.out)["answers"] == 200
        made = artifact.find(tmp_path, "descriptions")
        assert made.statistics["dollars"] == pytest.approx(4.0, rel=0.1)

    @pytest.mark.parametrize(("many", "batch"), [("yes", False), ("ignored", False), ("yes", True)])
    def test_a_run_never_costs_more_than_was_agreed_to(self, tmp_path: Path, many: str, batch: bool) -> None:
        """A model that talks nonsense is asked anew while the money lasts; what is good is kept for the next run."""
        agreed: list[float] = []

        def approve(plan: Plan) -> bool:
            agreed.append(plan.dollars or 0.0)
            return True

        tags, run = make_tags(tmp_path, TAGS[:2]), fast(price="100,1000", approve=approve, batch=batch)
        with StandIn(Behaviour(faults=0.9, kinds=("bad answer",), many=many)) as server:
            settings = config(server, again=10_000, concurrency=3, max_tokens=20)  # as long as its answers are
            with pytest.raises(
                RamkitError, match=r"the \$\d\.\d\d agreed to pays for no further call: \d+ of 100"
            ) as told:
                describe(artifacts=tmp_path, config=settings, tags=tags, run=run)
            first = "".join(path.read_text("utf-8") for path in tmp_path.glob("descriptions/.draft-*/answers.jsonl"))
            server.behaviour.faults = 0.0
            made = describe(artifacts=tmp_path, config=settings, tags=tags, run=run)
        assert "Run the same command again to agree to more" in told.value.cure
        calls = [row for row in map(json.loads, first.splitlines()) if "asked" in row]
        paid = sum(100 * row["prompt_tokens"] + 1000 * row["answer_tokens"] for row in calls) / 1e6
        paid *= BATCH_DISCOUNT if batch else 1.0
        assert 0.7 * agreed[0] < paid <= agreed[0]
        assert len(agreed) == 2
        assert_whole(rows_of(made), TAGS[:2])
        assert made.statistics["dollars"] <= sum(agreed)

    def test_wordnet_has_no_price(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="WordNet is free"):
            plan_describe(artifacts=tmp_path, config=DescribeConfig())

    def test_a_missing_key_is_told_before_anything_is_done(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(MissingError, match="Set OPENAI_API_KEY"):
            describe(artifacts=tmp_path, config=DescribeConfig(llm="gpt-4o"), tags=make_tags(tmp_path), run=fast())


def test_a_report_needs_descriptions(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="ramkit describe"):
        report_on(artifacts=tmp_path)


def test_the_papers_prompts_are_the_default(tmp_path: Path) -> None:
    with StandIn() as server:
        made = describe(artifacts=tmp_path, config=config(server, answers=1), tags=make_tags(tmp_path), run=fast())
    assert made.config["prompts"] == list(PAPER_PROMPTS)
    assert "concurrency" not in made.config


@pytest.mark.slow
def test_at_the_published_scale_with_a_fifth_of_all_requests_going_wrong(tmp_path: Path) -> None:
    """5,000 tags × 50 answers: every one there exactly once, memory flat."""
    import resource

    tags = tuple(f"thing {number}" for number in range(5000))
    server = subprocess.Popen(
        [
            sys.executable,
            Path(__file__).parents[1] / "stand_in_llm.py",
            "--faults",
            "0.2",
            "--latency",
            "0.05",
            "--hang",
            "30",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        settings = DescribeConfig(llm="m", base_url=url, timeout=2.0, concurrency=32)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        made = describe(artifacts=tmp_path, config=settings, tags=make_tags(tmp_path, tags), run=fast(first_wait=0.05))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        counts = stats_of(url)["counts"]
    finally:
        server.kill()
        server.communicate()
    assert_whole(rows_of(made), tags)
    assert counts["hang"] > 100
    assert grown < 150  # MiB; the answers themselves are 30 MB
