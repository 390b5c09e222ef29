"""Which tables a run measures: workload x source x TLS, and with all tools or with those that matter. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

SOURCES = ("minio", "nginx")


@dataclass(frozen=True, slots=True)
class Table:
    """One table: with ``focused`` only our tools, boto3 and the fastest others of the first table take part."""

    workload: str
    source: str
    tls: bool
    focused: bool


DEFAULT = (
    Table("one", "minio", tls=False, focused=False),
    Table("one", "minio", tls=True, focused=True),
    Table("one", "nginx", tls=False, focused=False),
    Table("one", "nginx", tls=True, focused=True),
    Table("small", "minio", tls=False, focused=False),
    Table("small", "nginx", tls=False, focused=True),
    Table("shards", "minio", tls=False, focused=True),
    Table("sha256", "minio", tls=False, focused=True),
    Table("model", "minio", tls=False, focused=True),
)
QUICK = tuple(
    table for table in DEFAULT if (table.workload, table.source) not in {("shards", "minio"), ("small", "nginx")}
)


def chosen(
    plan: Sequence[Table], *, workloads: Sequence[str] = (), sources: Sequence[str] = (), tls: bool | None = None
) -> list[Table]:
    """Return the tables to measure, those of one workload together.

    Args:
        plan: what is measured when nothing is chosen.
        workloads: if given, all combinations of these with the sources, not only those of the plan.
        sources: only these; none means all.
        tls: only with or only without; None means what the plan has.

    """
    if workloads:
        ways = (False, True) if tls is None else (tls,)
        plan = [
            Table(workload, source, tls=way, focused=False)
            for workload, source, way in product(dict.fromkeys(workloads), sources or SOURCES, ways)
            if workload != "sha256" or source == "minio"  # nothing but an object store says a sha256
        ]
    return [table for table in plan if (not sources or table.source in sources) and (tls is None or table.tls == tls)]
