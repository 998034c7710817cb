#!/bin/sh
# Bank compression in numbers: every evaluation of its tables, with controls. DATA names the folder of the samples, MODULE
# another module, SEEDS the seeds where a stream is drawn. Run it from the repository; finished runs are kept, so that a
# script that was stopped goes on. Two lanes with a thread each. Names given as arguments are run alone: sh results/bank.sh
# modes depths. ONLY names rows.
set -e
. results/measure.sh
data=${DATA:-../shared/data}
seeds=${SEEDS:-3}
# Where a row takes long
few=${SEEDS:-1}
own="--method bank-compression${MODULE:+ --module $MODULE}"
# Keys in a byte a number, as they were when most of this was measured, but for the rows named *-default
bank="$own --key-bits 8"
# In full precision, found and refused as mbc-residual does it, so that they differ in bytes alone
mac="$bank --kind mac --threshold 0.4 --top-k"
mkdir -p results/bank
of=bank
wanted="$*"

# The published stream: 1,665 documents learned, then 500 of the questions about them
stream="--task world-documents --limit 500"
# The row before learning is asked only where the known world is asked too
plain="--no-baseline --known 10"
modes() {
  one mode-residual-default $stream --seeds $seeds $own
  one mode-residual $stream --seeds $seeds $bank
  one mode-residual-stream $stream $plain --seeds $seeds $bank --codebook stream
  one mode-mac $stream --seeds $seeds $mac 4
  one mode-mac-nearest $stream $plain --seeds $seeds $mac 1
  one mode-mbc $stream $plain --seeds $seeds $bank --kind mbc
  one mode-mbc-topk $stream $plain --seeds $seeds $bank --kind mbc-topk
  # Each question reads all entries: some seconds each
  one mode-mac-all $stream --limit 100 $plain --seeds $few $bank --kind mac
  one mode-mac-hierarchical $stream --limit 100 $plain --seeds $few $bank --kind mac --together 32
}
# Learned while compressing, without a fit before: nine steps, asked about after the last
online() {
  steps="--task world-documents --batch 185 --columns seen --limit 60 $plain $bank --kind mbc-online"
  one online-reset $steps
  one online-no-reset $steps --no-reset
}
# What becomes of documents where room is short: the bandit and fixed rules under one budget, 29% of the bytes that
# all of them take; the questions which documents bring are not those that are asked. The last row keeps all
policies() {
  room="--task world-documents --batch 185 --columns seen --limit 60 --brought 2 $plain --seeds $few $bank"
  for policy in bandit random store oldest merge replace; do
    one policy-$policy $room --policy $policy --budget ${BUDGET:-575000}
  done
  one policy-no-budget $room
}
# F1 against bits: residual codes of every depth
depths() {
  for depth in 1 2 3 4; do
    one depth-$depth $stream $plain --seeds $seeds $bank --depth $depth
  done
}
# What is not the memory, and what is another memory
controls() {
  for control in adapters wrong-bank permuted; do
    one control-$control $stream $plain --seeds $seeds $bank --control $control
  done
  one control-none $stream $plain --seeds $seeds --method none
  one control-gold-context $stream $plain --seeds $seeds --method gold-context
  one control-rag $stream $plain --seeds $seeds --method rag --retriever bm25 --top-k 1
  one control-in-context $stream --limit 100 $plain --seeds $seeds --method in-context
}
# Fewer entries of full precision instead of fewer bits
reduced() {
  for control in prune average nearest; do
    for left in 0.5 0.1; do
      one reduced-$control-$left $stream $plain --seeds $few $mac 4 --control $control --left $left
    done
  done
}
# All weights trained on the stream
finetune() {
  one control-finetune $stream --seeds $seeds --method finetune
}
# Questions about the first 200 documents, after 200, 400, ... 1,600
retention() {
  curve="--task world-documents --documents 1600 --batch 200 --columns seen --limit 100 --known 10"
  one retention-residual $curve --seeds $seeds $bank
  one retention-mac $curve --seeds $seeds $mac 4
  one retention-finetune $curve --seeds $seeds --method finetune
}
# 10,000 documents, of which all bytes are counted
many() {
  one many-residual-default $stream --documents 10000 $plain $own
  one many-residual $stream --documents 10000 $plain $bank
  for depth in 2 3 4; do one many-depth-$depth $stream --documents 10000 $plain $bank --depth $depth; done
  one many-mac $stream --documents 10000 $plain $mac 4
}
# Two texts of 1,480 characters with ten questions each, written by hand for this: read in several chunks
long() {
  texts="--task documents --data results/bank/long-texts.jsonl --no-baseline"
  one long-residual $texts $bank
  one long-mac $texts $mac 4
  one long-none $texts --method none
  one long-rag $texts --method rag --retriever bm25 --top-k 1
}
# Other people's paragraphs; beyond this base
squad() {
  paragraphs="--task squad-documents --data $data/squad/squad_dev_shared.json --limit 300 --no-baseline"
  one squad-residual $paragraphs $bank
  one squad-mac $paragraphs $mac 4
  one squad-none $paragraphs --method none
  one squad-gold-context $paragraphs --method gold-context
  one squad-rag $paragraphs --method rag --retriever bm25 --top-k 1
}

{
  for name in controls reduced many online policies; do if part $name; then $name; fi; done
} &
other=$!
for name in modes depths retention long squad finetune; do if part $name; then $name; fi; done
wait $other
# Alone, as it takes times
if part bench; then bench; fi
