"""Small photos, a text encoder of random weights, and artefacts made from them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_home import LEARNS, Home, fill, write_photos
from tiny_models import write_bert


@pytest.fixture
def one_thread() -> Iterator[None]:
    """So that sums are formed in the same order here and in a process of its own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Sixteen, named after what they show: cat-0.jpg …"""
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def encoder_spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sentence:{write_bert(tmp_path_factory.mktemp('bert'))}"


@pytest.fixture
def home(tmp_path: Path, encoder_spec: str) -> Home:
    """An empty artefact root."""
    return Home(tmp_path / "artifacts", encoder_spec)


@pytest.fixture
def ready(home: Home, photos: list[str]) -> Home:
    """With all that training needs."""
    fill(home, photos)
    return home


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, photos: list[str], encoder_spec: str) -> Home:
    """With a model that knows its tags, five photos kept aside; not to be written into."""
    made = Home(tmp_path_factory.mktemp("trained"), encoder_spec)
    fill(made, photos)
    made.train(**LEARNS, validation=0.3)
    return made
