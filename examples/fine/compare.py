"""What each part of MP-FGVC brings on a ConvNet: trains every configuration here with every seed, prints one table.

    python examples/fine/compare.py flowers17.tar --supercategory flower
    python examples/fine/compare.py butterflies100.tar --supercategory butterfly --seeds 0,1,2

Models are kept as `fine` artefacts: what is there already is not trained again, and a stopped run goes on.
"""

import statistics
from pathlib import Path
from typing import Annotated

import typer

from ramkit import artifact, console
from ramkit.artifact import Artifact
from ramkit.config import FineTrainConfig, as_dict, read_config
from ramkit.stages.fine_train import fine_train

HERE = Path(__file__).parent
# One training of full.toml gives three rows: its first stage alone, its second stage, the mean of both answers.
ROWS = (
    ("plain fine-tuning", "plain", "plain"),
    ("+ selection by activation", "selection", "plain"),
    ("+ prompts (stage 1)", "full", "plain"),
    ("+ fusion (stage 2)", "full", "fused"),
    ("both stages' answers averaged", "full", "average"),
)


def compare(
    source: Annotated[str, typer.Argument(help="Image folder, published set, or a .tar of either.")],
    supercategory: Annotated[str, typer.Option(help="What its kinds are kinds of.")],
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "0,1,2",
    artifacts: Annotated[Path, typer.Option(help="Folder of the trained models.")] = Path("artifacts"),
) -> None:
    """Train all configurations with all seeds and print their accuracy on the photos kept aside."""
    numbers = [int(seed) for seed in seeds.split(",")]
    names = dict.fromkeys(name for _, name, _ in ROWS)
    models = {
        (name, seed): _trained(source, supercategory, name, seed, artifacts) for seed in numbers for name in names
    }
    rows = []
    for title, name, answer in ROWS:
        found = [100 * models[name, seed].statistics[f"validation_top1_{answer}"] for seed in numbers]
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        rows.append([title, f"{statistics.mean(found):.1f} ± {spread:.1f}", " ".join(f"{one:.1f}" for one in found)])
    photos = models["plain", numbers[0]].statistics["validation_photos"]
    console.print_table(
        f"{Path(source).name}: top-1 of {photos} photos, mean and standard deviation of {len(numbers)} seeds",
        ["trained with", "top-1", "each seed"], rows,
    )  # fmt: skip


def _trained(source: str, supercategory: str, name: str, seed: int, artifacts: Path) -> Artifact:
    config = read_config(HERE / f"{name}.toml", FineTrainConfig, supercategory=supercategory, seed=seed)
    wanted = {**as_dict(config), "source": str(Path(source).resolve())}
    del wanted["text_encoder"]  # manifests tell its identity, not the name that asks for it
    for version in artifact.versions(artifacts, "fine"):
        made = artifact.read_manifest(artifacts / "fine" / f"v{version}")
        if wanted.items() <= made["config"].items():
            return artifact.find(artifacts, "fine", f"v{version}")
    console.say(f"{name}.toml, seed {seed}")
    trained = fine_train(source=source, artifacts=artifacts, config=config, track=console.track, tell=console.say)
    assert trained is not None, "only under torchrun"
    return trained


if __name__ == "__main__":
    typer.run(compare)
