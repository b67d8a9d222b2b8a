"""A training run on disk: everything that going on needs, replaced atomically."""
import os
from dataclasses import dataclass
from pathlib import Path

import torch

FILE_NAME = "state.pt"


@dataclass
class RunState:
    phases: list[dict]          # settings of all phases of the run
    phase_index: int            # of the phase that is running
    step: int                   # steps done in it
    level: int                  # index in LEVELS
    seconds: float              # spent in it
    model: dict
    optimiser: dict
    random: dict                # torch generators: "cpu", and "cuda" where one is used
    config: dict                # ModelConfig's fields

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{FILE_NAME}.new"
        with temporary.open("wb") as file:
            torch.save(vars(self), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / FILE_NAME)

    @staticmethod
    def load(folder: Path) -> "RunState":
        """On the CPU. FileNotFoundError if the folder holds no run."""
        return RunState(**torch.load(folder / FILE_NAME, map_location="cpu", weights_only=True))


def random_state() -> dict:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
