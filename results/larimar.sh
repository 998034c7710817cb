#!/bin/sh
# Larimar in numbers: every evaluation of its table, with controls. DATA names the folder of the samples, MODULE another
# module, SEEDS the seeds where a stream is drawn. Run it from the repository; finished runs are kept, so that a script
# that was stopped goes on. Two lanes with a thread each. Names given as arguments are run alone: sh results/larimar.sh
# batch forgetting. ONLY names rows.
set -e
. results/measure.sh
data=${DATA:-../shared/data}
seeds=${SEEDS:-3}
larimar="--method larimar${MODULE:+ --module $MODULE}"
mkdir -p results/larimar
of=larimar
wanted="$*"

# World edits, one at a time, 256 others held; the row before learning is the single write into an empty memory
edits="--task world-edits --single --edits 500 --held 256"
single() {
  one single-larimar $edits --seeds $seeds $larimar
  one single-no-scope $edits $larimar --threshold -1
  one single-reference $edits $larimar --addressing reference
  one single-nearest $edits $larimar --reading nearest
  one single-no-rephrasings $edits --rephrasings 0 $larimar
  one single-in-context $edits --edits 100 --method in-context
  one single-rag $edits --edits 100 --method rag --retriever embedding
}
# CounterFact and zsRE: all records, one at a time, and zsRE in sequence. A threshold belongs to a kind of prompts: that of
# CounterFact's is from other records of it (docs/larimar.md).
public() {
  counterfact="--task counterfact --data $data/counterfact/edit_1k.jsonl --limit 1000 --single --held 256 --held-data $data/counterfact/val.jsonl"
  one counterfact-larimar $counterfact $larimar --threshold 0.66
  one counterfact-default $counterfact $larimar
  one counterfact-no-scope $counterfact $larimar --threshold -1
  one counterfact-nearest $counterfact $larimar --threshold 0.66 --reading nearest
  one counterfact-no-names $counterfact $larimar --names 0 --threshold 0.74
  one counterfact-rag $counterfact --limit 200 --no-baseline --method rag --retriever embedding
  zsre="--task zsre --data $data/zsre/zsre_knowedit_test.jsonl --limit 1000"
  one zsre-larimar $zsre --single --held 256 $larimar
  one zsre-no-scope $zsre --single --held 256 $larimar --threshold -1
  one zsre-sequence $zsre --batch 100 --columns seen $larimar
}
# A thousand facts of a new world, and three thousand
sequence() {
  one sequence-1000 --task world-sequence --edits 1000 --batch 100 --columns seen --seeds $seeds $larimar
  one sequence-3000 --task world-sequence --edits 3000 --batch 300 --columns seen --seeds $seeds $larimar
  one sequence-no-rephrasings --task world-sequence --edits 1000 --batch 250 --rephrasings 0 --columns seen $larimar
  one sequence-reference --task world-sequence --edits 1000 --batch 250 --columns seen $larimar --addressing reference
  one sequence-nearest --task world-sequence --edits 1000 --batch 250 --columns seen $larimar --reading nearest
  one sequence-rag --task world-sequence --edits 1000 --batch 250 --columns seen --method rag --retriever embedding
  one sequence-none --task world-sequence --edits 1000 --batch 1000 --method none
}
# N facts at once: in one memory up to 4 K, and through several
batch() {
  for n in 1 16 64 128 256 384 512 768 1024 2048; do
    one batch-$n --task world-sequence --edits $n --batch $n --limit 512 --known 10 --no-baseline $larimar --per-memory 4096
  done
  for n in 384 1024 2048 10000; do
    one batch-several-$n --task world-sequence --edits $n --batch $n --limit 2000 --known 10 --no-baseline $larimar
  done
}
# Forgetting at 0.75 K and at 10 K, with the rephrase attack
forgetting() {
  forget="--task world-forgetting --no-baseline"
  one forgetting-384 $forget --facts 384 --forgotten 192 --attacked 100 --seeds $seeds $larimar
  one forgetting-10000 $forget --facts 10000 --forgotten 600 --attacked 100 $larimar
  one forgetting-rag $forget --facts 384 --forgotten 192 --attacked 25 --method rag --retriever embedding
}
# Facts of a long text: beside reading it again
context() {
  for n in 64 96 128 256 512 1024; do
    text="--task world-context --facts $n --no-baseline"
    one context-$n-larimar $text --seeds $seeds $larimar
    one context-$n-in-context $text --method in-context
  done
  one context-256-rag --task world-context --facts 256 --no-baseline --method rag
  one context-256-text --task world-context --facts 256 --no-baseline --no-stated $larimar
  one context-256-recursive --task world-context --facts 256 --limit 100 --no-baseline $larimar --reading recursive
  one context-1024-recursive --task world-context --facts 1024 --limit 50 --no-baseline $larimar --reading recursive
}
# Text with memory on
text() {
  wikitext="--task memory-text --data $data/wikitext-2/valid.txt --no-baseline"
  one text-larimar $wikitext $larimar
  one text-no-scope $wikitext $larimar --threshold -1
}

{
  for name in single text batch; do if part $name; then $name; fi; done
} &
other=$!
for name in sequence forgetting context public; do if part $name; then $name; fi; done
wait $other
# Alone, as it takes times
if part bench; then bench; fi
