"""Captions that are as good as an image's own are no negatives."""

import torch
import torch.nn.functional as F

from ramkit.ram.questions import alike, draw_questions, tags_key

OWN = [[0, 3], [1], [2], []]  # captions of four images
TAGS = [[4, 1], [2], [1, 4, 4], []]
WORDS = ["a cat", "a dog", "a mouse", "a pet", "a dog", "a fish"]  # the last two from another process
CAPTION_TAGS = [TAGS[0], TAGS[1], TAGS[2], TAGS[0], [9], []]


def vectors() -> torch.Tensor:
    known = {word: F.normalize(torch.randn(5), dim=0) for word in WORDS}
    return torch.stack([known[word] for word in WORDS])


def keys(sets: list[list[int]]) -> torch.Tensor:
    return torch.tensor([tags_key(tags) for tags in sets])


def slow_alike() -> list[list[bool]]:
    found = []
    for image, own in enumerate(OWN):
        row = []
        for caption, words in enumerate(WORDS):
            same_words = any(WORDS[mine] == words for mine in own)
            same_tags = bool(TAGS[image]) and set(TAGS[image]) == set(CAPTION_TAGS[caption])
            row.append(caption not in own and (same_words or same_tags))
        found.append(row)
    return found


def test_equal_words_and_photos_with_the_very_same_tags_are_alike() -> None:
    found = alike(OWN, vectors(), keys(TAGS), keys(CAPTION_TAGS))
    assert found.tolist() == slow_alike()
    assert found.sum() == 4, "0 and 2 share their tags (three pairs), 1 and 4 their words"
    assert alike([[], []], torch.empty(0, 5), keys([[], [1]]), keys([])).shape == (2, 0)


def test_the_key_of_tags_follows_the_set_alone() -> None:
    assert tags_key([3, 1, 3]) == tags_key([1, 3]) != tags_key([1])
    assert tags_key([]) == 0
    assert 0 < tags_key([1]) < 2**63


def test_what_is_alike_counts_nothing_whether_all_is_asked_or_some() -> None:
    passed_over = alike(OWN, vectors(), keys(TAGS), keys(CAPTION_TAGS))
    losses = torch.rand(len(OWN), len(WORDS))
    wanted = losses[~passed_over].sum()
    everything = draw_questions(OWN, len(WORDS), 0, torch.Generator(), passed_over)
    torch.testing.assert_close(everything.weigh(losses), wanted)
    total, draws = torch.zeros(()), 4000
    for seed in range(draws):
        some = draw_questions(OWN, len(WORDS), 4, torch.Generator().manual_seed(seed), passed_over)
        assert some.selected is not None
        total += some.weigh(losses.gather(1, some.selected))
    torch.testing.assert_close(total / draws, wanted, rtol=0.02, atol=0)
