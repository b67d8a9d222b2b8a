#!/usr/bin/env bash
# Mines near misses with the bundled model, trains it further on a GPU, exports it and evaluates it
# and the bundled one.
#
#   training/continue_on_gpu.sh OUT_FOLDER [MINUTES]
#
# MINUTES (default 20) bounds the training alone; mining and evaluation take minutes more. Called
# again with the same OUT_FOLDER it goes on with an interrupted training, for MINUTES in all.
# OUT_FOLDER gets mined.jsonl, run/ (state.pt, log.jsonl), checkpoint/ and evaluation/ (one JSON
# file per model, bank size and sharpening, from seeds that no published figure used). SHARPEN lists the factors on
# the MSA layers' attention logits that are tried ("1.0 1.25" unless set); the checkpoint of the
# first one is checkpoint/, the others are checkpoint-FACTOR/.
# PYTHON: a Python (command or absolute path) with the packages of training/requirements.txt, or
# close to them.
# DEVICE: cuda unless set. POOL: documents to mine from (400000). SET: settings other than those
# below, e.g. SET="documents=512 mined_rounds=32" for a smaller GPU. SIZES and
# QUESTIONS: the evaluation's banks ("2000 20000") and questions per bank (200).
set -euo pipefail
if [[ $# -lt 1 || $# -gt 2 ]]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
fi
out=$(realpath -m "$1")
minutes=${2:-20}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
read -r -a factors <<<"${SHARPEN:-1.0 1.25}"
cd "$(dirname "$0")/.."

"$python" - "$device" <<'CHECK'
import sys
try:
    import numpy, safetensors, tokenizers, torch
except ImportError as error:
    sys.exit(f"{error}: install training/requirements.txt, or set PYTHON to a Python that has it")
if sys.argv[1] == "cuda" and not torch.cuda.is_available():
    sys.exit("torch sees no CUDA device; DEVICE=cpu trains on the CPU")
CHECK

workers=$(($(nproc) > 12 ? 12 : $(nproc)))
if [[ ! -e $out/mined.jsonl ]]; then
  mkdir -p "$out"
  "$python" -m training.mining "$out/mined.jsonl" --documents "${POOL:-400000}" --questions 12000 \
    --seed 43 --device "$device"
fi
if [[ -e $out/run/state.pt ]]; then
  start=(--resume)
else
  start=(--from checkpoint --phases continue)
  for setting in seed=32 rate=0.3 steps=4000 documents=768 first_round=256 second_round=96 \
    answer_round=48 mined_rounds=96 ${SET:-}; do
    start+=(--set "$setting")
  done
fi
"$python" -m training.train --run "$out/run" "${start[@]}" --mined "$out/mined.jsonl" \
  --minutes "$minutes" --device "$device" --workers "$workers"

# Evaluates the checkpoint $1 under the name $2.
evaluate() {
  mkdir -p "$out/evaluation"
  local size seed
  for size in ${SIZES:-2000 20000}; do
    for seed in 101 102; do
      "$python" -m training.evaluate --checkpoint "$1" --documents "$size" \
        --questions "${QUESTIONS:-200}" --seed "$seed" --first-number 1 --device "$device" \
        | tee "$out/evaluation/$2-$size-seed$seed.json"
    done
  done
}

for index in "${!factors[@]}"; do
  factor=${factors[index]}
  folder=$out/checkpoint$([[ $index -eq 0 ]] || echo "-$factor")
  "$python" -m training.export "$out/run" "$folder" --sharpen "$factor"
  evaluate "$folder" "continued-$factor"
done
evaluate checkpoint bundled
