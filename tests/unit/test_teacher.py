"""The image encoder's classifier as a teacher of its classes' names."""

import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ramkit.errors import InputError
from ramkit.ram.teacher import SOFTEN, Lesson, Teacher, imagenet_teacher

B, K, V, E, T = 3, 7, 4, 6, 5


@pytest.fixture
def teacher() -> Teacher:
    torch.manual_seed(0)
    return Teacher(2 * torch.randn(K, V), torch.randn(K), F.normalize(torch.randn(K, E), dim=-1))


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(B, T, V, generator=torch.Generator().manual_seed(1))


def slow_belief(teacher: Teacher, features: torch.Tensor) -> list[list[float]]:
    found = []
    for image in features.tolist():
        mean = [sum(token[v] for token in image) / T for v in range(V)]
        logits = [
            sum(w * x for w, x in zip(row, mean, strict=True)) + bias
            for row, bias in zip(teacher.weight.tolist(), teacher.bias.tolist(), strict=True)
        ]
        powers = [math.exp(logit) for logit in logits]
        found.append([(power / sum(powers)) ** SOFTEN for power in powers])
    return found


@pytest.mark.parametrize("count", [0, K, K + 1])
def test_all_classes_are_asked_with_the_softened_probabilities(
    teacher: Teacher, features: torch.Tensor, count: int
) -> None:
    lesson = teacher.lesson(features, count, torch.Generator())
    torch.testing.assert_close(lesson.targets, torch.tensor(slow_belief(teacher, features)))
    assert lesson.queries.shape == (B, K, E)
    assert torch.equal(lesson.queries[2], teacher.names)


def test_half_are_the_likeliest_and_half_are_drawn(teacher: Teacher, features: torch.Tensor) -> None:
    belief = slow_belief(teacher, features)
    drawn = set()
    for seed in range(10):
        lesson = teacher.lesson(features, 5, torch.Generator().manual_seed(seed))
        assert lesson.queries.shape == (B, 5, E)
        for image in range(B):
            asked = [
                next(k for k in range(K) if torch.equal(query, teacher.names[k])) for query in lesson.queries[image]
            ]
            assert asked[:2] == sorted(range(K), key=lambda k: -belief[image][k])[:2]
            assert lesson.targets[image].tolist() == pytest.approx([belief[image][k] for k in asked])
            drawn.add(tuple(asked[2:]))
    assert len(drawn) > 10


def test_the_loss_is_nought_where_the_pupil_believes_as_the_teacher() -> None:
    targets = torch.tensor([[0.9, 0.5, 0.01], [0.0, 1.0, 0.3]])
    lesson = Lesson(torch.zeros(2, 3, E), targets, torch.ones(2, 3))
    same = torch.logit(targets, eps=1e-6)
    assert lesson.loss(same).item() == pytest.approx(0, abs=1e-4)
    for shift in (-1.0, 1.0):
        assert lesson.loss(same + shift) > 0.01


def test_the_loss_is_the_divergence_of_each_belief() -> None:
    targets, logits = [0.2, 0.7], [0.5, -1.5]
    wanted = 0.0
    for y, logit in zip(targets, logits, strict=True):
        p = 1 / (1 + math.exp(-logit))
        wanted += y * math.log(y / p) + (1 - y) * math.log((1 - y) / (1 - p))
    lesson = Lesson(torch.zeros(1, 2, E), torch.tensor([targets]), torch.ones(1, 2))
    assert lesson.loss(torch.tensor([logits])).item() == pytest.approx(wanted, rel=1e-5)


def test_what_is_drawn_stands_for_all_classes(teacher: Teacher, features: torch.Tensor) -> None:
    """Averaged over many draws, a lesson's weights count every class once."""
    counted = torch.zeros(B, K)
    draws = 4000
    for seed in range(draws):
        lesson = teacher.lesson(features, 4, torch.Generator().manual_seed(seed))
        numbers = torch.cdist(lesson.queries, teacher.names.expand(B, -1, -1)).argmin(dim=-1)
        counted.scatter_add_(1, numbers, lesson.weights)
    torch.testing.assert_close(counted / draws, torch.ones(B, K), atol=0.1, rtol=0)


def test_the_projection_is_the_ridge_regression_of_weights_on_names(teacher: Teacher) -> None:
    projection, centre = teacher.projection()
    texts, weights = teacher.names - teacher.names.mean(0), teacher.weight - teacher.weight.mean(0)
    torch.testing.assert_close(centre, teacher.names.mean(0))
    for column in range(V):  # each feature by itself: minimise |w − T p|² + 0.1 |p|² by its normal equations
        p = projection[:, column]
        gradient = texts.T @ (texts @ p - weights[:, column]) + 0.1 * p
        torch.testing.assert_close(gradient, torch.zeros(E), atol=1e-4, rtol=0)


def encode(texts: list[str]) -> torch.Tensor:
    """A vector that tells the text's length and first letter."""
    return F.normalize(torch.tensor([[len(text), ord(text[13]), 1.0] for text in texts]), dim=-1)


def weights_file(path: Path, classes: int = 1000, width: int = V) -> str:
    state = {"stem": torch.ones(2), "head.weight": torch.randn(classes, width), "head.bias": torch.randn(classes)}
    torch.save(state, path)
    return str(path)


def test_it_is_read_from_the_end_of_a_weights_file(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "w.pth")
    found = imagenet_teacher(path, encode, width=V)
    stored = torch.load(path, weights_only=True)
    assert torch.equal(found.weight, stored["head.weight"])
    assert torch.equal(found.bias, stored["head.bias"])
    texts = [f"a photo of a {name}." for name in ("tench", "tinca tinca")]  # class 0
    torch.testing.assert_close(found.names[0], F.normalize(encode(texts).mean(0), dim=-1))
    assert found.names.shape == (1000, 3)
    torch.testing.assert_close(found.names.norm(dim=1), torch.ones(1000))


@pytest.mark.parametrize(("classes", "width"), [(21_841, V), (1000, V + 1)])
def test_another_classifier_is_refused(tmp_path: Path, classes: int, width: int) -> None:
    path = weights_file(tmp_path / "w.pth", classes, width)
    message = f"{path}: ends in no ImageNet-1k classifier of {V} channels. Train without a teacher: teacher_loss = 0"
    with pytest.raises(InputError, match=re.escape(message)):
        imagenet_teacher(path, encode, width=V)
    torch.save({"one": torch.ones(1)}, path)
    with pytest.raises(InputError, match=re.escape(message)):
        imagenet_teacher(path, encode, width=V)


@pytest.mark.parametrize("weights", ["", "timm"])
def test_weights_without_a_file_have_no_classifier(weights: str) -> None:
    with pytest.raises(InputError, match=r"The teacher's classifier is in no file\. Name one as image_weights, or"):
        imagenet_teacher(weights, encode, width=V)
