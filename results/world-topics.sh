#!/bin/sh
# The stream of five topics, every method, three seeds (worlds 100-102). Run it from the repository; finished runs are kept.
set -e
common="--task world-topics --people 20 --limit 30 --known 100 --validation examples/notes/1-lighthouse.txt --model mneme-base --seeds 3 --db runs/results.db"
training="--epochs 8 --batch-size 4"
measure() {
  name=$1
  shift
  npx mneme eval $common --out "runs/results/$name" --json "$@" | tail -n 1 > "results/world-topics/$name.json.part"
  mv "results/world-topics/$name.json.part" "results/world-topics/$name.json"
}
measure none --method none
measure finetune --method finetune $training
measure replay --method replay $training
measure rag --method rag
measure lora --method lora $training --learning-rate 0.01 --rank 16 --alpha 32
measure ewc --method ewc $training
measure in-context --method in-context
measure adapter --method adapter $training
measure separate --method separate $training
for share in 0.05 0.2 0.5; do measure "replay-$share" --method replay $training --share $share; done
npx mneme report --db runs/results.db --out results/world-topics/report.html --csv results/world-topics runs/results/*/
