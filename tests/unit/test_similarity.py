"""The direct comparison of query and image, against its formula."""

import math

import torch

from ramkit.ram.similarity import Similarity

B, C, E, Q = 2, 3, 4, 6


def made() -> Similarity:
    torch.manual_seed(0)
    module = Similarity(E, Q).double()
    torch.nn.init.normal_(module.image_contract.weight)  # as after training
    return module


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_formula_of_its_module() -> None:
    module, queries, states, images = made(), drawn(B, C, E, seed=1), drawn(B, C, Q, seed=2), drawn(B, E, seed=3)
    found = module(queries, states, images)
    for b in range(B):
        hidden = [0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in module.image_expand(images[b]).tolist()]
        image = images[b] + module.image_contract(torch.tensor(hidden, dtype=torch.float64))
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


def test_it_can_start_as_the_plain_cosine_of_image_and_centred_text() -> None:
    module, queries, images = Similarity(E, Q).double(), drawn(C, E, seed=1), drawn(B, E, seed=3)
    centre = drawn(E, seed=4)
    module.start_from(centre)
    found = module(queries, torch.zeros(B, C, Q, dtype=torch.float64), images)
    wanted = (
        math.exp(2.5) * torch.nn.functional.cosine_similarity(images[:, None], (queries - centre)[None], dim=-1) - 4
    )
    torch.testing.assert_close(found, wanted)
