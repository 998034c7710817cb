#!/bin/sh
# What each part of bank compression is worth: short fits that are alike but for one option, each read in full precision and
# through its codes. Run it from the repository; names given as arguments are run alone: sh results/bank-ablations.sh
# reference no-reset. Finished rows are kept. Modules go to runs/. STEPS, WORLD, DOCUMENTS and LIMIT make it smaller, to try it.
set -e
. results/measure.sh
of=bank-ablations
wanted="$*"
fit="--data world --world-documents ${WORLD:-600} --steps ${STEPS:-120} --groups 2 --warmup-steps 25 --quantize-from 0.3"
stream="--task world-documents --documents ${DOCUMENTS:-400} --limit ${LIMIT:-200} --no-baseline --known 10"
mkdir -p results/$of runs/$of

# fitted ARGUMENTS...: the module of $row; what the fit said last, and its curves, beside it
fitted() {
  file=results/$of/$row.json
  if [ -s "$file" ] && [ -f "runs/$of/$row/config.json" ]; then return 0; fi
  # Whole modules without what the fit said: it says it again from its work folder
  rm -rf "runs/$of/$row"
  npx mneme fit bank-compression --model mneme-base $fit --out "runs/$of/$row" --work "runs/$of/$row-work" --json "$@" \
    > "$file.part"
  tail -n 1 "$file.part" > "$file.line"
  rm "$file.part"
  mv "$file.line" "$file"
}
# read_as NAME ARGUMENTS...: questions about the stream, to the module of $row
read_as() {
  reading=$1
  shift
  one "$reading" $stream --method bank-compression --module "runs/$of/$row" "$@"
}
# ablation NAME ARGUMENTS...: a fit, and both of its readings beside each other
ablation() {
  row=$1
  shift
  if ! part "$row"; then return 0; fi
  fitted "$@"
  read_as "$row-full" --kind mac --threshold 0.4 --top-k 4 &
  other=$!
  read_as "$row-residual"
  wait $other
}

ablation reference
# How codebooks learn, what they begin as, whether unused codes are put where the data is
ablation no-reset --no-reset
ablation random --codebook-start random
ablation random-no-reset --codebook-start random --no-reset
ablation gradient --codebook gradient
ablation gradient-no-reset --codebook gradient --no-reset
ablation gradient-random --codebook gradient --codebook-start random
# As published, without the reset
ablation gradient-random-no-reset --codebook gradient --codebook-start random --no-reset
ablation no-adapters --rank 0
ablation codes-128 --codes 128
ablation codes-1024 --codes 1024
# Half the slots for the same documents
ablation slots-16 --slots 16 --context 128
# Fewer codes of the reference, which is not fitted again
row=reference
if part depth; then
  for depth in 1 2 3 4; do read_as reference-depth-$depth --depth $depth; done
fi
