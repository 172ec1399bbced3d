"""Weights and optimiser state cut up over the processes of a team (FSDP2), and put together again.

Single numbers, such as a temperature, cannot be cut: each process keeps them, and their gradients are averaged here.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ramkit.distributed import Team


def shard(objective: nn.Module, team: Team) -> nn.Module:
    """The module itself, its weights cut up block by block."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    objective.to(memory_format=torch.contiguous_format)
    mesh = init_device_mesh(team.device.type, (team.size,))
    for block in list(_blocks(objective)):
        fully_shard(block, mesh=mesh)
    fully_shard(objective, mesh=mesh, ignored_params=set(_scalars(objective)))
    return objective


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor; of a team every process has to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def laid_out_as(pattern: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """A whole tensor, cut up and placed as another one is; of a team every process has to call this."""
    tensor = tensor.to(pattern.device)
    if isinstance(pattern, DTensor):
        return distribute_tensor(tensor, pattern.device_mesh, pattern.placements)
    return tensor


def parameter_groups(objective: nn.Module) -> list[dict[str, Any]]:
    """Of the optimiser: what is cut up apart from what is not, for it updates many tensors of one kind at a time."""
    cut = [weight for weight in objective.parameters() if isinstance(weight, DTensor)]
    rest = [weight for weight in objective.parameters() if not isinstance(weight, DTensor)]
    return [{"params": group} for group in (cut, rest) if group]


def average_scalars(objective: nn.Module, team: Team) -> None:
    """Average the gradients of the single numbers beside weights that are cut up."""
    if any(isinstance(weight, DTensor) for weight in objective.parameters()):
        for weight in _scalars(objective):
            if weight.grad is not None:
                weight.grad.copy_(team.total(weight.grad) / team.size)


def clip_gradient(objective: nn.Module, limit: float) -> None:
    """Scale the gradient down to a norm of at most `limit`."""
    groups = [group["params"] for group in parameter_groups(objective)]
    if len(groups) == 1:
        nn.utils.clip_grad_norm_(groups[0], limit)
        return
    gradients = [[weight.grad for weight in group if weight.grad is not None] for group in groups]
    norm = torch.stack([whole(nn.utils.get_total_norm(group)) for group in gradients if group]).norm()
    for group in groups:
        nn.utils.clip_grads_with_norm_(group, limit, norm)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Links of the module's chains (nn.Sequential, nn.ModuleList) that hold weights and no chain of their own."""
    for chain in module.modules():
        if isinstance(chain, nn.Sequential | nn.ModuleList):
            yield from (link for link in chain if _has_weights(link) and not any(map(_is_chain, link.modules())))


def _is_chain(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential | nn.ModuleList) and _has_weights(module)


def _has_weights(module: nn.Module) -> bool:
    return any(weight.ndim for weight in module.parameters())


def _scalars(module: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in module.parameters() if weight.ndim == 0]
