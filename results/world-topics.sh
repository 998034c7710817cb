#!/bin/sh
# The stream of five topics, every method, three seeds (worlds 100-102). Run it from the repository; finished runs are kept.
set -e
. results/measure.sh
common="--task world-topics --people 20 --limit 30 --known 100 --validation examples/notes/1-lighthouse.txt --seeds 3"
training="--epochs 8 --batch-size 4"
mkdir -p results/world-topics
runs=
one() {
  name=$1
  shift
  measure "results/world-topics/$name.json" "$name" $common "$@"
  runs="$runs runs/results/$name"
}
one none --method none
one finetune --method finetune $training
one replay --method replay $training
one rag --method rag
one lora --method lora $training --learning-rate 0.01 --rank 16 --alpha 32
one ewc --method ewc $training
one in-context --method in-context
one adapter --method adapter $training
one separate --method separate $training
for share in 0.05 0.2 0.5; do one "replay-$share" --method replay $training --share $share; done
# Sweeps and other tasks lie beside these runs: each is named
npx mneme report --db runs/results.db --out results/world-topics/report.html --csv results/world-topics $runs
