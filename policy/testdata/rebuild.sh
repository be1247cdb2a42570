#!/bin/sh
# rebuild.sh [DIR] compiles micro/*.conf and micro/*.cil to DIR/NAME.vNN.bin,
# by default into micro itself. Needs checkpolicy and secilc (Debian packages
# of these names; the committed files are those of release 3.4).
#
# Every policy is compiled for a version before and after the one that brought
# its feature, and for 33.
set -eu
src=$(dirname "$0")/micro
out=${1:-$src}
fail() { cat "$out/log" >&2; echo "rebuild.sh: cannot compile $1 for version $2" >&2; exit 1; }
for f in "$src"/*.conf "$src"/*.cil; do
	name=$(basename "$f"); name=${name%.*}
	case $name in
	allow) versions="24 25 26 27 28 29 30 31 32 33" ;;
	named_transition) versions="24 25 32 33" ;;
	role_transition) versions="25 26 33" ;;
	defaults) versions="26 27 28 32 33" ;;
	constraint | validatetrans) versions="24 28 29 33" ;;
	xperms) versions="30 33" ;;
	object_contexts) versions="24 30 31 33" ;;
	infiniband) versions="31 33" ;;
	bounds_unchecked) versions="24 33" ;;
	contradictions) versions="33" ;;
	*) versions="24 29 30 33" ;;
	esac
	for v in $versions; do
		bin=$out/$name.v$v.bin
		case $f in
		*.cil) secilc -c "$v" -o "$bin" -f /dev/null "$f" >"$out/log" 2>&1 || fail "$f" "$v" ;;
		*/nomls.conf) checkpolicy -c "$v" -o "$bin" "$f" >"$out/log" 2>&1 || fail "$f" "$v" ;;
		*/handle_unknown_*) checkpolicy -M -U "${name#handle_unknown_}" -c "$v" -o "$bin" "$f" >"$out/log" 2>&1 || fail "$f" "$v" ;;
		*) checkpolicy -M -c "$v" -o "$bin" "$f" >"$out/log" 2>&1 || fail "$f" "$v" ;;
		esac
	done
done
rm -f "$out/log"
