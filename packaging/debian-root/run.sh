#!/bin/sh
# run.sh BINARY: a clean Debian, booted, in which the package memcached runs as it
# comes, and then again with only the binary's name changed. The same applications
# use both (PHP sessions and php-memcached, pylibmc, Django sessions), and whatever
# the two answer differently is a failure. The units of this project follow.
#
# It needs root, debootstrap, systemd-nspawn, and a mirror, which it takes from apt's
# configuration. The network of the booted system is its own and has no way out; the
# root and all mounts are gone at the end, however it comes.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:?expected the binary to test}")
export LC_ALL=C

die() {
	echo "debian-root: $*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || die "this needs root"
for tool in debootstrap systemd-nspawn unshare; do
	command -v $tool >/dev/null || die "$tool is not installed (make deps-test installs it)"
done
# What is mounted from here on is seen by nobody else, and goes with this process.
[ "${DEBIAN_ROOT_MOUNTS:-}" = own ] || DEBIAN_ROOT_MOUNTS=own exec unshare --mount --propagation private "$0" "$binary"

work=$(mktemp -d /var/tmp/debian-root.XXXXXX)
root=$work/root
log=$work/log
child=
cleanup() {
	[ -z "$child" ] || kill "$child" 2>/dev/null || true
	for m in $(awk -v d="$work/" 'index($2, d) == 1 { print $2 }' /proc/self/mounts | sort -r); do umount -l "$m"; done
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# quiet runs a step, whose output is shown only if it fails.
quiet() {
	what=$1
	shift
	"$@" >"$log" 2>&1 || {
		tail -40 "$log" >&2
		die "$what failed"
	}
}

# sources prints "URI suite component" of each index of Debian's that apt is told of.
sources() {
	apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(CODENAME) $(COMPONENT)' 'Identifier: Packages' |
		sed -n 's/^Debian //p' | sort -u
}
sources >"$work/sources"
[ -s "$work/sources" ] || {
	quiet "apt-get update" apt-get update -q
	sources >"$work/sources"
}
# The release itself is the one whose name has no "-updates" or the like.
awk '$2 !~ /-/ { print $1, $2; exit }' "$work/sources" >"$work/base"
read -r mirror suite <"$work/base" || die "apt's configuration names no mirror of Debian"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

quiet debootstrap debootstrap --variant=minbase --keyring=$keyring "$suite" "$root" "$mirror"
sed 's/^/deb /' "$work/sources" >"$root/etc/apt/sources.list"
apt-config dump | grep -E '^Acquire::(https?::|Check-)' >"$root/etc/apt/apt.conf.d/90host" || true
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io" # it is thrown away

# Without a service manager on this machine systemd-nspawn stays where it is started.
container() {
	keep=--keep-unit
	[ ! -d /run/systemd/system ] || keep=
	systemd-nspawn --quiet --register=no $keep --directory "$root" "$@"
}
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # nothing is started while it is installed
chmod +x "$root/usr/sbin/policy-rc.d"
quiet "the installation of packages" container --setenv=DEBIAN_FRONTEND=noninteractive sh -c '
	apt-get update -qq && apt-get install -y -qq --no-install-recommends \
		memcached systemd-sysv php-cli php-memcached python3-pylibmc python3-django'
rm "$root/usr/sbin/policy-rc.d"

mkdir "$root/check"
cp "$here"/inside/* "$root/check/"
cp "$binary" "$root/usr/bin/sememcached"
cp "$here"/../sememcached.service "$here"/../sememcached.socket "$root/etc/systemd/system/"
mkdir "$root/usr/lib/sememcached" "$root/etc/systemd/system/sememcached.service.d"
cp "$here"/../memcached-conf "$root/usr/lib/sememcached/"
cp "$here"/../memcached-conf.conf "$root/check/"
cp "$here"/../sememcached.tmpfiles "$root/usr/lib/tmpfiles.d/sememcached.conf"
mv "$root/check/check.target" "$root/check/check.service" "$root/etc/systemd/system/"

rc=0
container --private-network --boot systemd.unit=check.target systemd.show_status=no >"$log" 2>&1 </dev/null &
child=$!
wait $child || rc=$?
child=
cat "$root/check/report" 2>/dev/null || {
	tail -40 "$log" >&2
	die "the system did not boot"
}
[ "$rc" = 0 ] || die "failed (exit $rc)"
