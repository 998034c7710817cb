#!/bin/sh
# The stream of five topics, every method, three seeds (worlds 100-102), each with the best settings of results/sweeps.sh,
# which were chosen on another world. Run it from the repository after that; finished runs are kept. Two at a time with a
# thread each, which all methods have alike.
set -e
. results/measure.sh
mkdir -p results/world-topics results/replay-share
untuned="--task world-topics --people 20 --limit 30 --known 100 --validation examples/notes/1-lighthouse.txt"
tuned="--from-sweep runs/results/sweep"
one() {
  name=$1
  shift
  measure "results/world-topics/$name.json" "$name" --seeds 3 --threads 1 "$@"
}
{
  one finetune $tuned --method finetune
  one lora $tuned --method lora
  one separate $tuned --method separate
  one adapter $tuned --method adapter
  one rag $untuned --method rag
  one none $untuned --method none
} &
other=$!
one replay $tuned --method replay
one ewc $tuned --method ewc
one in-context $untuned --method in-context
# How much of the past is in a batch, and how much of it is kept at all: 5 rows are a tenth of this stream
for share in 0.05 0.2 0.5; do one "replay-$share" $tuned --method replay --share $share; done
one replay-kept $tuned --method replay --capacity 5
wait $other
# Methods once each, so that none has more than its one best setting
runs=
for name in none in-context rag finetune lora separate adapter ewc replay; do runs="$runs runs/results/$name"; done
npx mneme report --db runs/results.db --out results/world-topics/report.html --csv results/world-topics $runs
runs=
for name in finetune replay-0.05 replay replay-0.2 replay-0.5 replay-kept; do runs="$runs runs/results/$name"; done
npx mneme report --db runs/results.db --out results/replay-share/report.html --csv results/replay-share $runs
