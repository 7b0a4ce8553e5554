#!/usr/bin/env bash
# Time, memory and throughput of pruning on one GPU, at full size with random weights; about eight
# minutes, nothing is downloaded. Records go to data/bench/, where the notebook `efficiency` and the
# latency panels of Figures 8 to 10 find them.
#
#   bash workflow/gpu.sh              on the GPU
#   bash workflow/gpu.sh --rehearse   the same steps on tiny shapes and a processor, without records
#
# A step that fails or takes too long costs no other; the last lines say which did.
set -u
cd "$(dirname "$0")/.."
SPARSEVLM="${SPARSEVLM:-.venv/bin/python -m sparsevlm}"
PYTEST="${PYTEST:-.venv/bin/python -m pytest}"
METHODS=sparsevlm,fastv,pdrop,tome,random
OUT=data/bench ON="--device cuda --dtype float16" ROUNDS=7 PARTS=prefill,answers,memory,throughput
BATCHES="1,8,32" LIMIT=100 KERNELS="sdpa"
if [ "${1:-}" = --rehearse ]; then
    OUT=$(mktemp -d) ON="--device cpu --dtype float32 --layers 4" ROUNDS=2
    PARTS=prefill,answers,memory BATCHES=1 LIMIT=300
elif .venv/bin/python -c "import flash_attn" 2>/dev/null; then
    KERNELS="sdpa flash_attention_2"
fi
failed="" SMALL=${1:-}

width() { # of the tiny twin of a shape: a multiple of its heads
    [ "$SMALL" ] && case $1 in *13b) echo --hidden 320 ;; qwen*) echo --hidden 224 ;; *) echo --hidden 256 ;; esac
}

step() { # NAME SECONDS COMMAND...
    local name=$1 seconds=$2
    shift 2
    echo "== $name"
    timeout "$seconds" "$@" | cut -c -400 || failed="$failed $name"
}
set -o pipefail

# 1. The static path, CUDA graphs and the GPU's clock give what the processor gives.
step tests 90 $PYTEST -q -p no:cacheprovider tests/test_captured.py tests/test_bench_static.py -k "cuda or static"

# 2. Dense model, oracle and every method, one prompt at a time: the paper's latency.
for kernel in $KERNELS; do
    for shape in llava-1.5-7b llava-1.5-13b video-llava-7b qwen2-vl-7b; do
        step "$shape-$kernel" "$LIMIT" $SPARSEVLM bench --shape $shape $(width $shape) $ON --attention "$kernel" \
            --methods $METHODS --parts $PARTS --batches $BATCHES --rounds $ROUNDS \
            --record "$OUT/${shape}_${kernel}.json"
    done
done

# 3. Eight prompts at a time, where the arithmetic and not the launches decide; and CUDA graphs.
step batch-8 "$LIMIT" $SPARSEVLM bench --shape llava-1.5-7b $(width llava-1.5-7b) $ON --parts prefill --batch 8 \
    --methods $METHODS --rounds $ROUNDS --record "$OUT/llava-1.5-7b_batch_8.json"
step captured "$LIMIT" $SPARSEVLM bench --shape llava-1.5-7b $(width llava-1.5-7b) $ON --parts prefill --capture \
    --methods sparsevlm,fastv,pdrop --rounds $ROUNDS --record "$OUT/llava-1.5-7b_captured.json"

[ -z "$failed" ] && echo "done: records in $OUT" || { echo "failed:$failed"; exit 1; }
