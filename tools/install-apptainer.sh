#!/usr/bin/env bash
# Install Apptainer on Debian 12 for CI and development: tools/install-apptainer.sh
#
# Debian has it in sid alone, built for a newer glibc. sid's libc6 goes into a folder of its own, and Apptainer's
# two programs are pointed there: the system's libc and apt's sources stay as they are. sid comes from the mirror
# that apt already uses. Elsewhere install Apptainer your own way: https://apptainer.org/docs/admin/latest/
set -euo pipefail

GLIBC=/usr/lib/apptainer-glibc
LOADER=ld-linux-x86-64.so.2

works() { apptainer --version >/dev/null 2>&1; }

subordinate_ids() {  # `apptainer build --fakeroot` as root maps ids of this range
  [ "$(id -u)" = 0 ] || return 0
  touch /etc/subuid /etc/subgid
  grep -qE '^(root|0):' /etc/subuid || apptainer config fakeroot --add root
}

if works; then
  subordinate_ids
  apptainer --version
  exit 0
fi
[ "$(id -u)" = 0 ] || { echo "install-apptainer: needs root" >&2; exit 1; }
[ "$(dpkg --print-architecture)" = amd64 ] || { echo "install-apptainer: for amd64 only" >&2; exit 1; }

export DEBIAN_FRONTEND=noninteractive
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
system() { apt-get -qq -o DPkg::Lock::Timeout=600 "$@" >/dev/null; }
system update
system install -y --no-install-recommends ca-certificates debian-archive-keyring binutils patchelf \
  squashfs-tools squashfuse fuse3 fuse-overlayfs fakeroot uidmap gocryptfs mmdebstrap

# An apt of its own that knows sid. Its signatures are checked; its age is not, since mirrors lag behind.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sed -n 1p)
[ -n "$mirror" ] || { echo "install-apptainer: apt knows no mirror of Debian" >&2; exit 1; }
mkdir -p lists/partial cache/archives/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
sid() {
  apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" \
    -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false "$@"
}
sid update
sid download apptainer/sid libc6/sid

mv apptainer_*.deb original.deb
mv libc6_*.deb libc6.deb
dpkg-deb -R original.deb tree
dpkg-deb -x libc6.deb libc
mkdir -p "tree$GLIBC"
cp -a libc/usr/lib/x86_64-linux-gnu/*.so* "tree$GLIBC/"
[ -e "tree$GLIBC/$LOADER" ] || cp -L "libc/usr/lib64/$LOADER" "tree$GLIBC/"
find tree/usr -path "tree$GLIBC" -prune -o -type f -perm /111 -print | while read -r file; do
  readelf -l "$file" 2>/dev/null | grep -q 'program interpreter' || continue
  # DT_RPATH, since a RUNPATH would not hold for the libraries of libraries
  patchelf --set-interpreter "$GLIBC/$LOADER" --force-rpath --set-rpath "$GLIBC" "$file"
done
sed -i -E -e 's/^Version: .*/&+septet1/' -e 's/libc6 \(>= [^)]*\)/libc6/' -e '/^(Static-)?Built-Using:/d' tree/DEBIAN/control
(cd tree && find usr etc -type f -exec md5sum {} + >DEBIAN/md5sums)
dpkg-deb --root-owner-group -Zxz -z1 -b tree apptainer.deb >/dev/null
system install -y --no-install-recommends "$work/apptainer.deb"

works || { echo "install-apptainer: apptainer does not start" >&2; apptainer --version; exit 1; }
subordinate_ids
apptainer --version
