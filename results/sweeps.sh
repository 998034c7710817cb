#!/bin/sh
# Four settings of every gradient method on a development world, for the comparison at equal learning. Run it from the
# repository; finished trials are kept. Each method has a setting that learns little and one that learns nearly all; rates
# differ because a small adapter needs larger steps than the whole model.
set -e
out=runs/results/sweep
npx mneme sweep --task world-topics --people 20 --limit 30 --known 100 --validation examples/notes/1-lighthouse.txt \
  --model mneme-base --method finetune,lora,separate,adapter,ewc,replay --batch-size 4 --rank 16 --alpha 32 \
  --grid 'epochs=3,8;learningRate=3e-4,1e-3;lora.learningRate=3e-3,1e-2;adapter.learningRate=3e-3,1e-2' \
  --objective 'nar*rkr' --jobs 2 --threads 1 --out "$out" --db runs/results.db
mkdir -p results/sweeps
npx mneme report --db runs/results.db --out results/sweeps/report.html --csv results/sweeps "$out"
