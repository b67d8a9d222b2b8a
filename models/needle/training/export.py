"""A training run -> a checkpoint in Hugging Face form.

    python -m training.export RUN_FOLDER OUT_FOLDER [--sharpen FACTOR] [--tokenizer FOLDER]
"""
import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from training import conversation
from training.model import NeedleModel
from training.model_config import CHECKPOINT, ModelConfig
from training.run_state import RunState
from training.starting_weights import sharpen


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def export(model: NeedleModel, tokenizer_folder: Path, out: Path) -> None:
    """Writes bf16 weights, configs and the tokenizer's files."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    bos, eos = map(tokenizer.token_to_id, ("<|endoftext|>", conversation.IM_END))
    weights = {name: weight.to("cpu", torch.bfloat16).contiguous()
               for name, weight in model.state_dict().items()}
    save_file(weights, str(out / "model.safetensors"), metadata={"format": "pt"})
    _write_json(out / "config.json", model.config.to_json(bos, eos))
    _write_json(out / "generation_config.json", {
        "bos_token_id": bos, "do_sample": False, "eos_token_id": [eos, bos], "pad_token_id": bos})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer_folder / name, out / name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sharpen", type=float, default=1.0,
                        help="factor on the attention logits of the MSA layers")
    parser.add_argument("--tokenizer", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()
    state = RunState.load(arguments.run)
    model = NeedleModel(ModelConfig(**state.config))
    model.load_state_dict(state.model)
    sharpen(model, arguments.sharpen)
    export(model, arguments.tokenizer, arguments.out)


if __name__ == "__main__":
    main()
