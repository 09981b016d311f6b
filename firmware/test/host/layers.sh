#!/bin/sh
# layers.sh DIRECTORY: two trees, their images, and `merged`: what the images must look like together.
set -e
rm -rf "$1"
mkdir -p "$1/lower/root" "$1/upper/root" "$1/merged"
cd "$1"
fill() { head -c "$2" /dev/zero | tr '\0' "$3" >"$1"; }

n=0
for x in a b c d; do
  mkdir -p lower/root/$x/a lower/root/$x/l
  for y in a b c d; do
    n=$((n + 1))
    fill lower/root/$x/a/$y $((n * 1111)) $y
  done
  fill lower/root/$x/b $((n * 1024)) $x
  ln -s ../a lower/root/$x/c
  ln lower/root/$x/b lower/root/$x/d
done
ln -s a lower/root/l

mkdir -p upper/root/a/a upper/root/c upper/root/d/l/a
mknod upper/root/a/c c 0 0
mknod upper/root/a/a/b c 0 0
fill upper/root/a/a/a 5000 u
fill upper/root/b 300 u
setfattr -n trusted.overlay.opaque -v y upper/root/c
fill upper/root/c/d 70000 o
fill upper/root/d/l/b 10 n
ln -s ../../a/a upper/root/d/a

cp -a lower/. merged
rm -rf merged/root/a/c merged/root/a/a/b merged/root/b merged/root/c merged/root/d/a
cp -a upper/. merged
rm merged/root/a/c merged/root/a/a/b
setfattr -x trusted.overlay.opaque merged/root/c

mkfs.erofs -T1 lower.erofs lower >/dev/null 2>&1
mkfs.erofs -T1 upper.erofs upper >/dev/null 2>&1
mkfs.erofs -T1 merged.erofs merged >/dev/null 2>&1
