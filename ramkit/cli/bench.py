"""Benchmarks of this machine: `ramkit bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ramkit import console
from ramkit.cli.options import JsonOption

if TYPE_CHECKING:
    from ramkit.ram.paradigm_times import Times

app = typer.Typer(help="Time this machine.", rich_markup_mode="rich", no_args_is_help=True)


@app.callback()
def _benchmarks() -> None:
    """Time this machine."""


@app.command("paradigms")
def paradigms(
    tags: Annotated[str, typer.Option(help="Numbers of tags, comma-separated.")] = "1,10,100,1000,10000,100000",
    image_encoder: Annotated[
        str, typer.Option(help="Any timm model; weights are random, time does not depend on them.")
    ] = "swin_base_patch4_window7_224",
    image_size: Annotated[int, typer.Option(min=0, help="Pixels of both sides; 0 takes the encoder's own.")] = 0,
    descriptions: Annotated[int, typer.Option(min=1, help="Of a tag, which ITTA re-weights.")] = 51,
    repeats: Annotated[int, typer.Option(min=1, help="Most runs; their median counts.")] = 5,
    seconds: Annotated[
        float, typer.Option(help="Most for a row; what would take longer is timed in part and extrapolated.")
    ] = 60.0,
    png: Annotated[Path, typer.Option(help="Where the picture is written.")] = Path("paradigms.png"),
    json: JsonOption = False,
) -> None:
    """Time an image with ITC, ITM and ITTA against the number of tags: the paper's Figure 7 on this machine."""
    from ramkit.errors import InputError
    from ramkit.ram.paradigm_times import Protocol
    from ramkit.stages import bench_paradigms as stage

    try:
        counts = tuple(int(count) for count in tags.split(","))
    except ValueError:
        raise InputError(f"--tags {tags!r}.", cure="Give whole numbers, as in --tags 1,10,100.") from None
    times, machine = stage.bench_paradigms(
        image_encoder=image_encoder, image_size=image_size, png=png, track=console.track,
        protocol=Protocol(counts, descriptions, repeats, seconds),
    )  # fmt: skip
    if json:
        console.print_json(stage.as_document(times, machine))
    else:
        name = f"{machine['image_encoder']}, {machine['image_size']} pixels; {machine['processor']}"
        _print_times(times, f"{name}, threads: {machine['threads']}; seconds an image, median")
    console.say(f"as a picture: {png}")


def _print_times(times: "Times", title: str) -> None:
    from ramkit.ram.paradigm_times import PARADIGMS

    columns = {name: times.of(name) for name in PARADIGMS}
    rows = [
        [f"{columns[PARADIGMS[0]][i].tags:,}", *(_cell(times, column[i].alignment, column[i].extrapolated)
        for column in columns.values())]
        for i in range(len(columns[PARADIGMS[0]]))
    ]  # fmt: skip
    console.print_table(title, ["tags", *PARADIGMS], rows)
    console.say(f"of each the image encoder: {times.encoder:.3g} s")
    timed = {entry.paradigm: entry.timed for entry in times.timings if entry.extrapolated}
    for name, count in timed.items():
        console.say(f"* {name}: {count:,} tags were timed, the time of more is extrapolated")


def _cell(times: "Times", alignment: float, extrapolated: bool) -> str:
    return f"{times.encoder + alignment:.4g}{' *' if extrapolated else ''}"
