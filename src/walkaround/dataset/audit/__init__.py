"""What is wrong with a dataset: :func:`audit_scene`; :mod:`walkaround.runners.audit` for all scenes."""

from walkaround.dataset.audit.finding import Finding, read_findings, write_findings
from walkaround.dataset.audit.options import AuditOptions
from walkaround.dataset.audit.scene import audit_scene

__all__ = ["AuditOptions", "Finding", "audit_scene", "read_findings", "write_findings"]
