"""Train and measure the rows of the paper's ablation with several seeds, and print the table.

    python examples/ablation/run.py DATA/val-00.tar --rows a b c d e f --seeds 0 1 2

Rows are the TOML files beside this script. What the artefact root holds already is not trained again: a stopped run
goes on, and rows or seeds can be added later.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from ramkit import artifact, console
from ramkit.artifact import Artifact
from ramkit.config import EvaluateConfig, ModelRow, TrainConfig, as_dict, read_config
from ramkit.errors import RamkitError
from ramkit.files import read_rows, write_whole
from ramkit.labels import LabelColumns, LabelledSet, read_labels
from ramkit.stages.evaluate import evaluate, read_metrics
from ramkit.stages.train import train

HERE = Path(__file__).parent
COLUMNS = {"all": "mAP", "seen": "mAP_in_vocabulary", "never seen": "mAP_open_set"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", nargs="+", help="photos that people labelled: .tar shards or .jsonl")
    parser.add_argument("--rows", nargs="+", default=list("abcdef"), help="names of the TOML files beside this script")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    given = parser.parse_args()
    labelled, texts = read_labels(given.labels, LabelColumns()), write_descriptions(given.artifacts)
    found: dict[str, list[dict[str, float]]] = {row: [] for row in given.rows}
    for seed in given.seeds:
        for row in given.rows:
            metrics = measured(given.artifacts, trained(given.artifacts, row, seed), labelled, texts)
            found[row].append({name: metrics[key] for name, key in COLUMNS.items()})
            console.say(f"{row}, seed {seed}: " + ", ".join(f"{k} {100 * v:.1f}" for k, v in found[row][-1].items()))
    print(table(found))


def trained(root: Path, row: str, seed: int) -> Artifact:
    """The model of a row and seed: the one that is there, or a new one."""
    config = read_config(HERE / f"{row}.toml", TrainConfig, seed=seed)
    settings = json.loads(json.dumps(as_dict(config)))  # as a manifest has it, which tells more of the text encoder
    del settings["text_encoder"]
    inputs = {kind: artifact.find(root, kind).id for kind in ("vocabulary", "triplets", "embeddings")}
    for version in artifact.versions(root, "model"):
        manifest = artifact.read_manifest(root / "model" / f"v{version}")
        same = all(manifest["config"].get(key) == value for key, value in settings.items())
        if same and manifest["inputs"] == inputs:
            return artifact.find(root, "model", str(version))
    return train(artifacts=root, config=config, track=console.track, tell=console.say)


def measured(root: Path, model: Artifact, labelled: LabelledSet, texts: Path) -> dict[str, float]:
    """mAP of a model on the labelled photos; names that it never saw are asked as its own tags are."""
    config = EvaluateConfig(descriptions=str(texts), resamples=0, pictures=False)
    rows = [ModelRow(model=str(model.path))]
    return read_metrics(evaluate(artifacts=root, config=config, labelled=labelled, models=rows, track=console.track))


def write_descriptions(root: Path) -> Path:
    """All descriptions, of held-out tags too, in the form that `evaluate --descriptions` reads."""
    by_tag: dict[str, list[str]] = {}
    for row in read_rows(artifact.find(root, "descriptions").file("descriptions.jsonl")):
        by_tag.setdefault(row["tag"], []).append(row["text"])
    path = root / "ablation-descriptions.json"
    write_whole(path, json.dumps([by_tag]))
    return path


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: mean ± standard deviation over the seeds, in points of mAP."""
    lines = [f"| row | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for row, runs in found.items():
        cells = []
        for name in COLUMNS:
            values = [100 * run[name] for run in runs]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except RamkitError as error:
        sys.exit(f"error: {error}")
