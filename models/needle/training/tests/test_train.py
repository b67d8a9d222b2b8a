"""A few steps of real training on the CPU: resuming, levels, export, bad arguments."""
import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import torch

from training import export, train
from training.model import NeedleModel
from training.optimiser import orthogonalise
from training.phases import CONTINUE, PHASES
from training.run_state import RunState

SMALL = [option for setting in (
    "documents=12", "first_round=4", "second_round=2", "answer_round=2", "steps=6")
    for option in ("--set", setting)]


class TrainTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        threads = torch.get_num_threads()
        self.addCleanup(torch.set_num_threads, threads)

    def train(self, run: str, *options: str) -> list[dict]:
        """-> the rows of the run's log"""
        with contextlib.redirect_stdout(io.StringIO()):
            train.main(["--run", str(self.folder / run), "--threads", "1", "--workers", "0",
                        "--precision", "f32", "--device", "cpu", "--log-every", "1", *options])
        lines = (self.folder / run / "log.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def fails(self, *options: str) -> str:
        """-> the error message"""
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), self.assertRaises(SystemExit):
            self.train(*options)
        return errors.getvalue()

    def test_resumed_run_gives_the_losses_and_weights_of_an_uninterrupted_one(self):
        phases = ["--phases", "route,cite", *SMALL]
        whole = self.train("whole", *phases)
        self.assertEqual([(r["phase"], r["step"]) for r in whole],
                         [("route", s) for s in range(1, 7)] + [("cite", s) for s in range(1, 7)])

        steps = []
        real_step = train.PhaseRun.step

        def interrupted_step(*arguments):
            if len(steps) == 9:     # the fourth step of the second phase, after a save
                raise KeyboardInterrupt
            steps.append(1)
            return real_step(*arguments)

        with mock.patch.object(train.PhaseRun, "step", interrupted_step):
            with self.assertRaises(KeyboardInterrupt):
                self.train("broken", *phases, "--save-every", "2")
        resumed = self.train("broken", "--resume", "--save-every", "2")
        # Step 3 was done twice: it had not been saved.
        self.assertEqual([r["step"] for r in resumed[6:]], [1, 2, 3, 3, 4, 5, 6])
        self.assertEqual([r["last_loss"] for r in whole[6:]],
                         [r["last_loss"] for r in resumed[6:8] + resumed[9:]])
        for name, weight in RunState.load(self.folder / "whole").model.items():
            self.assertTrue(torch.equal(weight, RunState.load(self.folder / "broken").model[name]))

    def test_loss_falls(self):
        log = self.train("run", "--phases", "mixed-7-digits", *SMALL)
        losses = [row["loss_written"] for row in log]
        self.assertLess(losses[-1], losses[0] - 1)

    def test_level_rises_with_the_share_of_right_digits(self):
        log = self.train("run", "--phases", "cite", *SMALL, "--set", "steps=11",
                         "--set", "next_level_at=-1.0")
        self.assertEqual([log[9]["level"], log[10]["level"]], [0, 1])

    def test_run_from_the_bundled_checkpoint_exports_a_checkpoint_of_the_same_form(self):
        log = self.train("run", "--from", str(train.CHECKPOINT), "--phases", "continue", *SMALL,
                         "--set", "steps=1", "--set", "rate=0.0", "--set", "end_rate=0.0",
                         "--set", "mined_share=0.0")
        self.assertGreater(log[0]["digits"], 0.9)      # it is a trained model
        out = self.folder / "out"
        with mock.patch("sys.argv", ["export", str(self.folder / "run"), str(out)]):
            export.main()
        for name in ("config.json", "generation_config.json", "tokenizer.json",
                     "tokenizer_config.json"):
            self.assertEqual((out / name).read_text(), (train.CHECKPOINT / name).read_text())
        # A rate of 0 changed nothing.
        exported, bundled = NeedleModel.load(out), NeedleModel.load(train.CHECKPOINT)
        for name, weight in bundled.state_dict().items():
            self.assertTrue(torch.equal(weight, exported.state_dict()[name]))

    def test_phase_with_mined_batches_needs_a_file_of_them(self):
        self.assertIn("needs --mined", self.fails("run", "--phases", "continue", *SMALL))

    def test_time_limit_ends_a_phase(self):
        log = self.train("run", "--phases", "route", *SMALL, "--minutes", "0.000001")
        self.assertEqual([r["step"] for r in log], [1])

    def test_bad_arguments_are_named(self):
        self.assertIn("no phase 'nothing'", self.fails("run", "--phases", "nothing"))
        self.assertIn("no setting 'width'", self.fails("run", "--set", "width=3"))
        self.assertIn("holds no run", self.fails("run", "--resume"))
        self.train("run", "--phases", "route", *SMALL, "--set", "steps=1")
        self.assertIn("--resume goes on", self.fails("run", "--phases", "route"))


class PhasesTest(unittest.TestCase):
    def test_settings_keep_their_types(self):
        phase = CONTINUE.with_settings(
            ["steps=7", "rate=0.5", "point_heads=1,3", "copy_question=false"])
        self.assertEqual((phase.steps, phase.rate, phase.point_heads, phase.copy_question),
                         (7, 0.5, (1, 3), False))

    def test_every_phase_can_be_chosen_by_its_name(self):
        self.assertEqual([phase.name for phase in PHASES.values()], list(PHASES))


class OptimiserTest(unittest.TestCase):
    def test_orthogonalised_matrices_have_singular_values_near_one(self):
        torch.manual_seed(0)
        for shape in ((3, 64, 32), (2, 32, 64)):
            values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
            self.assertGreater(values.min(), 0.5)
            self.assertLess(values.max(), 1.3)


if __name__ == "__main__":
    unittest.main()
