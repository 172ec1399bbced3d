"""Two names are merged on evidence alone: one synset, one company, and not named side by side."""

from pathlib import Path

import pytest

from ramkit.errors import MissingError
from ramkit.text.contexts import Evidence, synset_pairs, weigh

INDEX = """\
  1 a line of the licence
bat n 3 1 @ 3 2 00000007 00000008 00000009
chiropteran n 1 1 @ 1 0 00000007
couch n 1 1 @ 1 1 00000001
sofa n 1 1 @ 1 1 00000001
cat n 2 1 @ 2 1 00000002 00000003
guy n 2 1 @ 2 1 00000004 00000003
gas_pump n 1 1 @ 1 0 00000005
gasoline_pump n 1 1 @ 1 0 00000005
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "index.noun").write_text(INDEX)
    return tmp_path


def test_pairs_share_a_first_sense(folder: Path) -> None:
    names = ["sofa", "couch", "cat", "guy", "gas pump", "gasoline pump", "zebra", "bat", "chiropteran"]
    assert synset_pairs(names, folder) == [("bat", "chiropteran"), ("couch", "sofa"), ("gas pump", "gasoline pump")]


def test_no_wordnet(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no WordNet here \(index.noun\)"):
        synset_pairs(["cat"], tmp_path)


def weighed(photos: list[set[str]], *pair: str) -> Evidence:
    counts = {name: sum(name in tags for tags in photos) for name in pair}
    [found] = weigh([(pair[0], pair[1])], photos, counts)
    return found


def test_same_company_never_together_is_one_thing() -> None:
    found = weighed([{"couch", "cat", "room"}, {"couch", "room"}, {"sofa", "cat", "room"}, {"dog"}], "couch", "sofa")
    assert (found.preferred, found.other, found.holds) == ("couch", "sofa", True)
    assert found.cosine == pytest.approx(1 / 3**0.5 * 1 / 2**0.5 + (2 / 3) ** 0.5 * 1 / 2**0.5)


def test_other_company_keeps_two_meanings_apart() -> None:
    photos = [{"bat", "ball", "player"}, {"bat", "ball"}, {"chiropteran", "cave"}, {"chiropteran", "night"}]
    assert not weighed(photos, "bat", "chiropteran").holds


def test_named_side_by_side_are_two_things() -> None:
    photos = [{"bread", "lettuce", "plate"}, {"bread", "plate"}, {"lettuce", "plate"}, {"dog"}, {"cat"}]
    found = weighed(photos, "bread", "lettuce")
    assert found.cosine == pytest.approx(1)
    assert found.lift > 1
    assert not found.holds
