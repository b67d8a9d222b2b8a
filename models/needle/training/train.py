"""Trains the needle model: phases in a row, each from what the one before it left.

    python -m training.train --run FOLDER                       all recorded phases, from nothing
    python -m training.train --run FOLDER --resume              goes on with that run
    python -m training.train --run FOLDER --from checkpoint --phases continue --mined FILE
    python -m training.train --run FOLDER --phases route,cite --set documents=64 --set steps=20

FOLDER gets state.pt (replaced atomically every --save-every steps and at the end of a phase) and
log.jsonl (one object per --log-every steps). --resume takes the phases, with their settings, from
state.pt; --mined is given again. A resumed run gives the losses of an uninterrupted one: batches
follow from phase, seed and step. With --minutes the rate follows the clock, so there it does so
only nearly.
training.export turns state.pt into a checkpoint.
"""
import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader

from training import conversation
from training.batches import Batch, BatchSource
from training.losses import Statistics, query_losses
from training.model import NeedleModel
from training.model_config import CHECKPOINT, ModelConfig
from training.optimiser import Optimiser
from training.phases import LEVELS, PHASES, RECORDED_PHASES, Phase
from training.run_state import RunState, random_state, restore_random_state
from training.starting_weights import copy_routing_to_later_layers, sharpen, start_weights

VOCABULARY_MULTIPLE = 64
WARM_UP_STEPS = 10
LEVEL_STEPS = 10            # the level is looked at every so many steps


class PhaseRun:
    """The steps of one phase."""

    def __init__(self, model: NeedleModel, optimiser: Optimiser, phase: Phase,
                 template_head: list[int], use_bf16: bool, minutes: float | None):
        self._model = model
        self._optimiser = optimiser
        self._phase = phase
        self._template_head = torch.tensor(template_head, device=model.device)
        self._use_bf16 = use_bf16
        self._minutes = minutes
        self._weights = {"route": phase.route_weight, "point": phase.point_weight,
                         "copy": phase.copy_weight, "written": 1.0}
        optimiser.set_gain_rate(phase.gain_rate)

    def prepare_weights(self) -> None:
        """The phase's changes to the weights, before its first step."""
        sharpen(self._model, self._phase.sharpen)
        if self._phase.copy_routing:
            copy_routing_to_later_layers(self._model, self._phase.point_heads)

    def progress(self, step: int, seconds: float) -> float:
        """0 to 1: how far the rate has fallen after `step` steps"""
        done = step / (self._phase.falls_over or self._phase.steps)
        if self._minutes:
            done = max(done, seconds / 60 / self._minutes)
        return min(1.0, done)

    def is_over(self, step: int, seconds: float) -> bool:
        return step >= self._phase.steps or bool(
            self._minutes and seconds / 60 >= self._minutes)

    def step(self, batch: Batch, step: int, level: int, seconds: float,
             statistics: Statistics) -> float:
        """One step (`step` from 1) -> its loss. One that is not finite is a FloatingPointError."""
        model, phase = self._model, self._phase
        batch = batch.to(model.device)
        last_layer = model.config.msa_layers[0] if phase.routing_only else None
        num_samples = sum(len(q.token_ids) for q in batch.queries)
        totals: dict[str, torch.Tensor] = {}
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=self._use_bf16):
            bank = model.encode_documents(batch.documents, last_layer)
            prefix = model.template_prefix(self._template_head)
            for queries in batch.queries:
                losses = query_losses(model, bank, prefix, queries, phase,
                                      LEVELS[level].memory_documents, statistics)
                share = len(queries.token_ids) / num_samples
                for name, loss in losses.items():
                    totals[name] = totals.get(name, 0.0) + loss * share
        loss = sum(self._weights[name] * total for name, total in totals.items())
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss of step {step} of phase {phase.name} is {value}")
        loss.backward()
        end_rate = min(phase.rate, phase.end_rate)
        rate = phase.rate + (end_rate - phase.rate) * self.progress(step, seconds)
        self._optimiser.step(rate * min(1.0, step / WARM_UP_STEPS))
        statistics.add("loss", value, 1)
        for name, total in totals.items():
            statistics.add(f"loss_{name}", total.item(), 1)
        return value


class Trainer:
    """A run of phases, saved in a folder."""

    def __init__(self, arguments: argparse.Namespace):
        self._arguments = arguments
        self._device = torch.device(arguments.device)
        self._tokenizer_file = arguments.tokenizer / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(self._tokenizer_file))
        self._template_head = tokenizer.encode(
            conversation.TEMPLATE_HEAD, add_special_tokens=False).ids
        saved = RunState.load(arguments.run) if arguments.resume else None
        if saved:
            self._phases = [Phase(**settings) for settings in saved.phases]
            model = NeedleModel(ModelConfig(**saved.config))
        else:
            self._phases = [PHASES[name].with_settings(arguments.set) for name in arguments.phases]
            torch.manual_seed(self._phases[0].seed)
            if arguments.source:
                model = NeedleModel.load(arguments.source)
            else:
                size = tokenizer.get_vocab_size()
                model = NeedleModel(ModelConfig(
                    vocab_size=-(-size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE))
                start_weights(model)
        self._model = model.to(self._device)
        self._optimiser = Optimiser(self._model, self._phases[0].gain_rate)
        self._phase_index = self._step = 0
        self._level, self._seconds = self._phases[0].level, 0.0
        if saved:
            self._model.load_state_dict(saved.model)
            self._optimiser.load_state(saved.optimiser)
            self._phase_index, self._step = saved.phase_index, saved.step
            self._level, self._seconds = saved.level, saved.seconds
            restore_random_state(saved.random)

    def run(self) -> None:
        while self._phase_index < len(self._phases):
            self._run_phase(self._phases[self._phase_index])
            self._phase_index, self._step, self._seconds = self._phase_index + 1, 0, 0.0
            if self._phase_index < len(self._phases):
                self._level = self._phases[self._phase_index].level
            self._save()

    def _run_phase(self, phase: Phase) -> None:
        run = PhaseRun(self._model, self._optimiser, phase, self._template_head,
                       self._arguments.precision == "bf16", self._arguments.minutes)
        if self._step == 0:
            run.prepare_weights()
        elapsed_before, started = self._seconds, time.monotonic()
        logged, for_level = Statistics(), Statistics()
        while not run.is_over(self._step, self._seconds):
            level = self._level
            for batch in self._batches(phase):
                self._step += 1
                statistics = Statistics()
                loss = run.step(batch, self._step, level, self._seconds, statistics)
                self._seconds = elapsed_before + time.monotonic() - started
                for sums in (logged, for_level):
                    for name, (total, count) in statistics.sums.items():
                        sums.add(name, total, count)
                is_over = run.is_over(self._step, self._seconds)
                if self._step % self._arguments.log_every == 0 or is_over:
                    self._log(phase, loss, logged)
                    logged = Statistics()
                if self._step % LEVEL_STEPS == 0:
                    self._raise_level(phase, for_level)
                    for_level = Statistics()
                if self._step % self._arguments.save_every == 0:
                    self._save()
                if is_over or self._level != level:
                    break

    def _batches(self, phase: Phase) -> DataLoader:
        """The batches from the next step on, at the present level, made ahead by workers."""
        source = BatchSource(self._tokenizer_file, phase, self._level,
                             self._model.config.chunk_tokens, self._arguments.mined)
        return DataLoader(source, batch_size=None, collate_fn=lambda batch: batch,
                          sampler=range(self._step + 1, phase.steps + 1),
                          num_workers=self._arguments.workers)

    def _raise_level(self, phase: Phase, statistics: Statistics) -> None:
        if (statistics.means().get("digits", 0.0) > phase.next_level_at
                and self._level + 1 < len(LEVELS)):
            self._level += 1

    def _log(self, phase: Phase, loss: float, statistics: Statistics) -> None:
        row = {"phase": phase.name, "step": self._step, "seconds": round(self._seconds, 1),
               "level": self._level, "last_loss": loss,
               **{name: round(mean, 4) for name, mean in statistics.means().items()}}
        print(json.dumps(row), flush=True)
        self._arguments.run.mkdir(parents=True, exist_ok=True)
        with (self._arguments.run / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")

    def _save(self) -> None:
        RunState([p.to_dict() for p in self._phases], self._phase_index, self._step, self._level,
                 self._seconds, self._model.state_dict(), self._optimiser.state(), random_state(),
                 asdict(self._model.config)).save(self._arguments.run)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="the run's folder")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--phases", type=lambda text: text.split(","),
                        default=[phase.name for phase in RECORDED_PHASES],
                        help=f"of {', '.join(PHASES)}; default: all but continue")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="a setting of all phases, see training/phases.py")
    parser.add_argument("--from", dest="source", type=Path,
                        help="a checkpoint in Hugging Face form to start from")
    parser.add_argument("--mined", type=Path,
                        help="near misses of training.mining, for phases with a mined_share")
    parser.add_argument("--tokenizer", type=Path, default=CHECKPOINT,
                        help="folder of tokenizer.json; default: the bundled checkpoint")
    parser.add_argument("--minutes", type=float,
                        help="end each phase after this time; its rate falls with the clock")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16",
                        help="of the matrix products; bf16 is slow on CPUs without bf16 units")
    parser.add_argument("--threads", type=int, help="of the CPU; default: all cores")
    parser.add_argument("--workers", type=int, default=1,
                        help="processes that make batches; 0: between the steps")
    parser.add_argument("--log-every", type=int, default=10)
    parser.add_argument("--save-every", type=int, default=50)
    parsed = parser.parse_args(arguments)
    for name in parsed.phases:
        if name not in PHASES:
            parser.error(f"no phase '{name}'; there are: {', '.join(PHASES)}")
    has_state = (parsed.run / "state.pt").exists()
    if parsed.resume and not has_state:
        parser.error(f"{parsed.run} holds no run to resume")
    if has_state and not parsed.resume:
        parser.error(f"{parsed.run} holds a run; --resume goes on with it")
    if parsed.resume and (parsed.source or parsed.set):
        parser.error("--from and --set belong to the start of a run, not to --resume")
    try:
        phases = [PHASES[name].with_settings(parsed.set) for name in parsed.phases]
    except ValueError as error:
        parser.error(str(error))
    if parsed.resume:
        phases = [Phase(**settings) for settings in RunState.load(parsed.run).phases]
    if not parsed.mined and any(phase.mined_share for phase in phases):
        parser.error("a phase with mined batches needs --mined, a file of training.mining")
    return parsed


def main(arguments: list[str] | None = None) -> None:
    parsed = parse_arguments(arguments)
    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    Trainer(parsed).run()


if __name__ == "__main__":
    main()
