"""Muon for matrices (momentum, then an orthogonalised step), Adam for embeddings and norm gains.

Muon: Keller Jordan, 2024, https://kellerjordan.github.io/posts/muon.
"""
import torch
from torch import Tensor, nn

MATRIX_RATE = 0.02
EMBEDDING_RATE = 0.005
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def orthogonalise(matrices: Tensor) -> Tensor:
    """[n, rows, columns] -> nearly (semi-)orthogonal matrices with the same singular vectors"""
    a, b, c = NEWTON_SCHULZ
    x = matrices.bfloat16()
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if is_tall else x).float()


class Optimiser:
    def __init__(self, model: nn.Module, gain_rate: float):
        named = list(model.named_parameters())
        self._matrices = [p for name, p in named if p.dim() == 2 and "embed" not in name]
        self._momentum = [torch.zeros_like(p) for p in self._matrices]
        self._adam = torch.optim.Adam([
            {"params": [p for name, p in named if "embed" in name], "base_rate": EMBEDDING_RATE},
            {"params": [p for _, p in named if p.dim() == 1], "base_rate": gain_rate},
        ], betas=(0.9, 0.95))

    def set_gain_rate(self, rate: float) -> None:
        self._adam.param_groups[1]["base_rate"] = rate

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """`rate` scales all base rates. Parameters without a gradient stay as they are; gradients
        are dropped afterwards."""
        for group in self._adam.param_groups:
            group["lr"] = group["base_rate"] * rate
        self._adam.step()
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for weight, momentum in zip(self._matrices, self._momentum):
            if weight.grad is not None:
                momentum.lerp_(weight.grad, 1 - MOMENTUM)
                update = weight.grad.lerp(momentum, MOMENTUM)  # Nesterov
                by_shape.setdefault(weight.shape, []).append((weight, update))
        for (rows, columns), pairs in by_shape.items():
            size = MATRIX_RATE * rate * max(1.0, rows / columns) ** 0.5
            for (weight, _), step in zip(pairs, orthogonalise(torch.stack([u for _, u in pairs]))):
                weight.sub_(step, alpha=size)
        for weight in self._matrices:
            weight.grad = None
        self._adam.zero_grad()

    def state(self) -> dict:
        return {"adam": self._adam.state_dict(), "momentum": self._momentum}

    def load_state(self, state: dict) -> None:
        self._adam.load_state_dict(state["adam"])
        for momentum, saved in zip(self._momentum, state["momentum"]):
            momentum.copy_(saved)
