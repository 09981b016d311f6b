#!/bin/sh
# random.sh BUILD SEED TREE IMAGES: file_random on Linux over the tree BUILD/layers/TREE (none: empty)
# and on the hosted kernel over IMAGES must tell the same.
set -e
run="$1/run.random"
rm -rf "$run"
mkdir -p "$run"
if [ "$3" = none ]; then
  unset IMAGES
  merged=
else
  cp -a "$1/layers/$3/." "$run"
  export IMAGES="$4"
  merged=merged
fi
# What the guest's root has, too.
mkdir -p "$run/dev" "$run/etc" "$run/proc" "$run/sys" "$run/tmp"
"$1/file_random.linux" "$run" "$2" $merged >"$1/random.linux.out"
"$1/file_random.hosted" / "$2" $merged >"$1/random.hosted.out"
cmp -s "$1/random.linux.out" "$1/random.hosted.out" || {
  echo "seed $2 over $4 differs:"
  diff -u "$1/random.linux.out" "$1/random.hosted.out" | head -30
  exit 1
}
