#!/usr/bin/env bash
# All benchmarks on one GPU, in under 25 minutes of device time, PyTorch beside.
#
#   benchmarks/run_gpu.sh [step ...]        steps: install check layers models torch losses data
#                                                  scaling
#
# Without steps: all but install. A lease that ends a command after ten minutes takes it in three:
#   benchmarks/run_gpu.sh check layers data scaling
#   benchmarks/run_gpu.sh models losses
#   benchmarks/run_gpu.sh torch
#
# Environment: OUT, the folder of results (default benchmarks/results/<device>); PYTHON (python3)
# and TORCH_PYTHON (the same); COMMIT, where the tree is a copy without git; SMOKE=1 tries every
# step with tiny shapes on the CPU. Results: a .jsonl a benchmark, tables.md, models.png, log.txt;
# what a step printed before its time was up is kept.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
TORCH_PYTHON=${TORCH_PYTHON:-$PYTHON}
export PYTHONUNBUFFERED=1

device() {
  if [ -n "${SMOKE:-}" ]; then echo smoke; return; fi
  nvidia-smi --query-gpu=name --format=csv,noheader | head -1 | tr 'A-Z ' 'a-z-'
}
OUT=${OUT:-benchmarks/results/$(device)}
mkdir -p "$OUT"
failed=()

# bench LIMIT NAME ARGUMENTS: one benchmark, its lines of JSON and its tables kept apart
bench() {
  local limit=$1 name=$2 argument shown=(); shift 2
  for argument; do
    if [[ $argument == /* ]]; then shown+=("${argument##*/}"); else shown+=("$argument"); fi
  done
  echo "== $name ${shown[*]} (at most $limit s)"
  printf '\n`python -m benchmarks.%s %s`\n' "$name" "${shown[*]}" >> "$OUT/tables.md"
  timeout --kill-after=10 "$limit" "$PYTHON" -m "benchmarks.$name" "$@" 2>> "$OUT/log.txt" |
    while IFS= read -r line; do
      case $line in
        {*) printf '%s\n' "$line" >> "$OUT/$name.jsonl" ;;
        *) printf '%s\n' "$line" | tee -a "$OUT/tables.md" ;;
      esac
    done || failed+=("$name")
}

install() {
  "$PYTHON" -m pip install -q 'jax[cuda13]' torch -e . 2>> "$OUT/log.txt" || failed+=(install)
}

check() {
  "$PYTHON" - <<'PY' || failed+=(check)
import jax, jaxseg
print("jax", jax.__version__, jax.devices())
PY
  "$TORCH_PYTHON" -c 'import torch; print("torch", torch.__version__, torch.cuda.is_available())' ||
    failed+=(check)
}

# PyTorch lives on the same GPU while layers and against_torch run.
layers() {
  local share=${SHARE:-0.45}
  XLA_PYTHON_CLIENT_MEM_FRACTION=$share bench "$t_layers" layers --torch "$TORCH_PYTHON" \
    --precisions bfloat16 --forms naive chosen cpu --rounds 7 --seconds 0.02 \
    --budget "$((t_layers - 20))" "${tiny[@]}"
}

models() {
  bench "$t_models" models --dtype bfloat16 --budget "$((t_models - 30))" --limit 150 \
    --plot "$OUT/models.png" "${tiny_models[@]}"
}

torch() {
  local share=${SHARE:-0.45} side=(--torch-python "$TORCH_PYTHON" --rounds 7)
  export XLA_PYTHON_CLIENT_MEM_FRACTION=$share
  bench "$t_torch" against_torch "${side[@]}" --precisions bfloat16 --tasks training \
    --modes eager compile --budget "$((t_torch - 60))" "${tiny_torch[@]}"
  bench "$t_more" against_torch "${side[@]}" --precisions tf32 --tasks training \
    --modes eager compile --only unet31m unet_resnet34 --budget "$((t_more / 2))" "${tiny_torch[@]}"
  bench "$t_more" against_torch "${side[@]}" --precisions bfloat16 --tasks inference \
    --modes eager compile --budget "$((t_more / 2))" "${tiny_torch[@]}"
  unset XLA_PYTHON_CLIENT_MEM_FRACTION
}

losses() {
  bench "$t_losses" loss_cost --rounds 3 --seconds 0.04 --budget "$((t_losses - 20))" \
    "${tiny_losses[@]}"
}

data() { bench "$t_data" data "${tiny_data[@]}"; }

scaling() { JAX_PLATFORMS=cpu bench "$t_scaling" scaling "${tiny_scaling[@]}"; }

t_layers=300 t_models=330 t_torch=380 t_more=100 t_losses=150 t_data=150 t_scaling=120
tiny=(--preset gpu) tiny_models=(--preset gpu) tiny_torch=(--preset gpu)
tiny_losses=(--preset gpu) tiny_data=() tiny_scaling=()
if [ -n "${SMOKE:-}" ]; then
  export JAX_PLATFORMS=cpu
  t_layers=900 t_models=900 t_torch=900 t_more=900 t_losses=300 t_data=600 t_scaling=600
  tiny=(--preset smoke --rounds 2 --only conv_3x3_64 max_pool_3d --precisions float32)
  tiny_models=(--preset smoke --repeats 2 --only unet_volume --limit 600)
  tiny_torch=(--preset smoke --rounds 2 --seconds 0.01 --only mbconv --precisions float32
    --modes eager --budget 600)
  tiny_losses=(--preset smoke --only dice boundary)
  tiny_data=(--smoke)
  tiny_scaling=(--widths 4 8 --size 16 16 --only 1x1x1 2x2x2)
fi

for step in "${@:-all}"; do
  case $step in
    all) check; layers; models; torch; losses; data; scaling ;;
    install | check | layers | models | torch | losses | data | scaling) "$step" ;;
    *) echo "unknown step: $step" >&2; exit 2 ;;
  esac
done
echo "results in $OUT"
if [ "${#failed[@]}" -gt 0 ]; then echo "failed or out of time: ${failed[*]}"; exit 1; fi
