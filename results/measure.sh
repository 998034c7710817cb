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
# For a script whose rows lie in results/$of. Its arguments name parts to run ($wanted), all unless given; ONLY names rows.
# part NAME: does the part run?
part() { [ -z "$wanted" ] || case " $wanted " in *" $1 "*) true ;; *) false ;; esac; }
# one NAME ARGUMENTS...: a row
one() {
  name=$1
  shift
  case " ${ONLY:-$name} " in *" $name "*) ;; *) return 0 ;; esac
  measure "results/$of/$name.json" "$of/$name" --threads 1 "$@"
}
# bench: what `mneme bench` says of it
bench() {
  npx mneme bench $of --json ${MODULE:+--data module=$MODULE} > results/$of/bench.part
  tail -n 1 results/$of/bench.part > results/$of/bench.json
  rm results/$of/bench.part
}
