#!/usr/bin/env bash
# SLURM for the test cluster (tests/cluster), from Debian's packages; nothing to do where it is installed. Needs root.
# The packages' own services stay off: the cluster starts its daemons itself, by pid, on loopback.
set -euo pipefail
programs=(munged mariadbd slurmdbd slurmctld slurmd sbatch)
packages=(munge mariadb-server slurmdbd slurmctld slurmd slurm-client)
export PATH=$PATH:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive

missing() { for program in "${programs[@]}"; do command -v "$program" >/dev/null || return 0; done; return 1; }

missing || { echo "SLURM is there: $(slurmctld -V)"; exit 0; }
command -v apt-get >/dev/null || { echo "install-slurm: needs apt-get; install ${packages[*]} by other means" >&2; exit 2; }
for attempt in 1 2 3 4 5 6; do  # another apt may hold the lock
  if apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; then break; fi
  echo "install-slurm: attempt $attempt failed" >&2
  sleep $((attempt * 5))
done
if missing; then echo "install-slurm: apt-get did not install ${packages[*]}" >&2; exit 1; fi
if [ -d /run/systemd/system ]; then
  systemctl disable --now munge mariadb slurmdbd slurmctld slurmd >/dev/null 2>&1 || true
fi
slurmctld -V
