#!/bin/sh
# The recipe's proxy with two seeds, side by side with a thread each. DATA names the folder of the novels. A pass that is
# stopped goes on.
set -e
novels=${DATA:-../shared/data}/english_novels
one() {
  npx mneme pretrain --recipe recipes/mneme-base-proxy.json --seed "$1" --threads 1 --work "runs/proxy-$1" --force \
    --data "$novels/Bennet_Babylon_1902.txt" "$novels/Bennet_Helen_1910.txt" "$novels/Blackmore_Lorna_1869.txt" \
    --validate "$novels/Doyle_Hound_1902.txt" --out "runs/proxy-out-$1" --json > "runs/proxy-$1.json"
  tail -n 1 "runs/proxy-$1.json" > "results/proxy-$1.json"
}
mkdir -p runs
one 1 &
other=$!
one 101
wait $other
