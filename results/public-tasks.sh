#!/bin/sh
# Small samples of public data sets, five methods on each, one seed. DATA names the folder of the samples. Run it from the
# repository; finished runs are kept.
set -e
. results/measure.sh
data=${DATA:-../shared/data}
mkdir -p results/public
each() {
  method=$1
  few= many=
  # An edit is a single line: it takes more epochs than an article to be learned at all
  case $method in
    finetune | lora | replay) few="--epochs 3 --batch-size 4" many="--epochs 30 --batch-size 4" ;;
  esac
  own=
  if [ $method = lora ]; then own="--learning-rate 0.01 --rank 16 --alpha 32"; fi
  one() {
    task=$1
    shift
    measure "results/public/$task-$method.json" "public/$task-$method" --threads 1 --task "$task" --method $method $own "$@"
  }
  one classify --data "$data/sent_classification" --limit 150 --test-limit 60 $few
  one squad --data "$data/squad/squad_dev_shared.json" --limit 60 $few
  one counterfact --data "$data/counterfact/edit_1k.jsonl" --limit 40 $many
  one zsre --data "$data/zsre/zsre_knowedit_test.jsonl" --limit 40 $many
}
# Two at a time, a thread each
{ each finetune; each rag; each none; } &
other=$!
each replay
each lora
wait $other
