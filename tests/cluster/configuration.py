"""The files that the test cluster's daemons read: slurm.conf, slurmdbd.conf, MariaDB's my.cnf and the smaller ones."""

import getpass
import socket
from pathlib import Path

CLUSTER = "septet"
# node -> number of (pretended) GPUs; partitions `cpu` and `urgent` have the nodes without, `gpu` those with
NODES = {"node1": 0, "node2": 0, "node3": 2}
CPUS = 4  # of each node, whatever the machine has: jobs share its cores
MEMORY_MB = 8000
DEVICES = ("/dev/null", "/dev/zero")  # a GPU's file must be a device

# Ports above the first: slurmctld, slurmdbd, MariaDB, then each node's slurmd.
CONTROL, ACCOUNTING, DATABASE, FIRST_NODE = range(4)

SLURM = """\
ClusterName={cluster}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# a requeued job waits until its old credential has expired: 10 s here, 120 s by default
AuthInfo=socket={run}/munge.socket,cred_expire=10
# loopback only
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MpiDefault=none
MailProg=/bin/true
RebootProgram=/bin/true
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/%n.pid
SlurmctldLogFile={log}/slurmctld.log
SlurmdLogFile={log}/%n.log
# no cgroups and no systemd: memory is looked at every second, and a job over its limit is killed
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
PropagateResourceLimits=NONE
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=10000,bf_interval=2
PriorityType=priority/basic
# jobs of `urgent` take the nodes of others, whose jobs wait if they may (--requeue), and are cancelled otherwise
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
DefMemPerCPU=500
# nodes may have more cores than the machine, and come back by themselves
SlurmdParameters=config_overrides
ReturnToService=2
# short timers; a job still gets {kill_wait} s between SIGTERM and SIGKILL
KillWait={kill_wait}
UnkillableStepTimeout=600
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=15
BatchStartTimeout=10
MessageTimeout=10
OverTimeLimit=0
JobRequeue=0
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting}
AccountingStoragePass={run}/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=limits
AccountingStoreFlags=job_comment
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes={without} Default=YES MaxTime=120 DefaultTime=5 State=UP
PartitionName=gpu Nodes={with_gpus} MaxTime=120 DefaultTime=5 State=UP
PartitionName=urgent Nodes={without} PriorityTier=10 MaxTime=2 DefaultTime=1 State=UP
"""

SLURMDBD = """\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={accounting}
CommunicationParameters=NoInAddrAny
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={run}/munge.socket
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
PidFile={run}/slurmdbd.pid
LogFile={log}/slurmdbd.log
CommitDelay=1
"""

# Nothing here needs to survive a power cut: no flushing.
MARIADB = """\
[mysqld]
user={user}
datadir={data}
socket={run}/mariadb.socket
pid-file={run}/mariadbd.pid
log-error={log}/mariadbd.log
bind-address=127.0.0.1
port={database}
innodb_buffer_pool_size=64M
innodb_log_file_size=16M
innodb_lock_wait_timeout=900
innodb_flush_log_at_trx_commit=0
innodb_flush_method=nosync
innodb_doublewrite=0
innodb_use_native_aio=0
performance_schema=0
"""

CGROUP = "CgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\n"


def write(folder: Path, data: Path, port: int) -> None:
    """Write all of them below `folder`/etc."""
    host = socket.gethostname().partition(".")[0]
    values = {
        "cluster": CLUSTER,
        "host": host,
        "user": getpass.getuser(),
        "folder": folder,
        "run": folder / "run",
        "log": folder / "log",
        "data": data,
        "kill_wait": 15,
        "control": port + CONTROL,
        "accounting": port + ACCOUNTING,
        "database": port + DATABASE,
        "nodes": "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port + FIRST_NODE + place} CPUs={CPUS}"
            f" RealMemory={MEMORY_MB} State=UNKNOWN" + (f" Gres=gpu:pretended:{gpus}" if gpus else "")
            for place, (name, gpus) in enumerate(NODES.items())
        ),
        "without": ",".join(name for name, gpus in NODES.items() if not gpus),
        "with_gpus": ",".join(name for name, gpus in NODES.items() if gpus),
    }
    gres = "".join(
        f"NodeName={name} Name=gpu Type=pretended File={device}\n"
        for name, gpus in NODES.items()
        for device in DEVICES[:gpus]
    )
    etc = folder / "etc"
    for name, text in {
        "slurm.conf": SLURM.format(**values),
        "slurmdbd.conf": SLURMDBD.format(**values),
        "my.cnf": MARIADB.format(**values),
        "gres.conf": gres,
        "cgroup.conf": CGROUP,
    }.items():
        (etc / name).write_text(text)
    (etc / "slurmdbd.conf").chmod(0o600)  # slurmdbd refuses one that others can read
