# For the scripts beside it. measure FILE RUN ARGUMENTS...: one evaluation of the embedded base under the name RUN; the last
# line of its --json goes to FILE, which is whole or absent. A finished run is read again and not repeated.
measure() {
  file=$1 run=$2
  shift 2
  npx mneme eval --model mneme-base --db runs/results.db --out "runs/results/$run" --json "$@" > "$file.part"
  tail -n 1 "$file.part" > "$file.line"
  rm "$file.part"
  mv "$file.line" "$file"
}
