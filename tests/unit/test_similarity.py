"""The direct comparison of query and image, against its formula."""

import math

import torch

from ramkit.ram.similarity import Similarity

B, C, E, Q = 2, 3, 4, 6


def made() -> Similarity:
    torch.manual_seed(0)
    return Similarity(E, Q).double()


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_formula_of_its_module() -> None:
    module, queries, states, images = made(), drawn(B, C, E, seed=1), drawn(B, C, Q, seed=2), drawn(B, E, seed=3)
    found = module(queries, states, images)
    for b in range(B):
        image = module.image_map(images[b])
        for i in range(C):
            text = module.text_map(queries[b, i])
            mapped = module.state_map(queries[b, i])
            attended = sum(states[b, i, q] * mapped[q] for q in range(Q)) / math.sqrt(Q)
            cosine = sum(image[e] * text[e] for e in range(E)) / (image.norm() * text.norm())
            wanted = attended + math.exp(module.log_scale.item()) * cosine + module.bias
            torch.testing.assert_close(found[b, i], wanted)


def test_queries_for_all_images_are_those_of_each() -> None:
    module, queries, states, images = made(), drawn(C, E, seed=1), drawn(B, C, Q, seed=2), drawn(B, E, seed=3)
    torch.testing.assert_close(module(queries, states, images), module(queries.expand(B, -1, -1), states, images))
